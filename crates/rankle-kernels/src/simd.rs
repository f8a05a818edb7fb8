//! Which instructions to use, decided once at run time.
//!
//! A kernel is written once, generic over [`Vector`], and compiled for every instruction set: [`Isa::run`] enters a
//! function that carries the right `target_feature`, into which the kernel and the vector operations are inlined.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set that this machine has: a value of this type is the proof that its kernels may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Plain Rust, for every machine. Multiplies and adds are rounded separately: its results differ in the last bits from
    /// those of the other sets, which fuse them.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// Everything that this machine can run, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has more than one so far")]
        let mut all = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 {
                all.push(Self(Kind::Avx2));
            }
            // `run_avx512` promises the compiler both.
            if avx2 && avx512 {
                all.push(Self(Kind::Avx512));
            }
        }
        all
    }

    /// The fastest set of this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::PORTABLE))
    }

    /// How many numbers one register holds.
    pub fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => x86::Avx512::LANES,
        }
    }

    /// Width of a panel: the columns that one tile of a matrix product covers, two registers.
    pub fn panel(self) -> usize {
        2 * self.lanes()
    }

    /// How many rows one tile of a matrix product may have: what the registers hold.
    pub fn rows(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => x86::Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => x86::Avx512::ROWS,
        }
    }

    /// Runs a kernel with these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => kernel.run::<Portable>(),
            // SAFETY: the value exists only if the machine has the instructions (`available`).
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::run_avx512(kernel) },
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        })
    }
}

/// Work written once for every instruction set. Implementations mark `run` as `#[inline(always)]`: it must end up inside
/// the function that carries the `target_feature`.
pub(crate) trait Kernel {
    type Output;
    fn run<V: Vector>(self) -> Self::Output;
}

/// One register of `LANES` numbers.
pub(crate) trait Vector: Copy {
    const LANES: usize;
    const ROWS: usize;
    fn splat(value: f32) -> Self;
    /// # Safety
    /// `LANES` numbers can be read at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `LANES` numbers can be written at `to`.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + addend`, fused where the hardware can.
    fn multiply_add(self, factor: Self, addend: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    /// [`Vector::multiply_add`] on one number, rounded in the same way.
    fn multiply_add_one(value: f32, factor: f32, addend: f32) -> f32;
    /// Keeps the `values[lane]` whose `winners[lane]` is `which`, with `first + lane * step` beside it, packed to the front of
    /// `kept` and `places`; returns how many.
    ///
    /// # Safety
    /// `LANES` elements can be read at `winners` and `values` and written at `kept` and `places`.
    #[inline(always)]
    unsafe fn keep_equal(
        winners: *const u8,
        which: u8,
        values: *const f32,
        first: u32,
        step: u32,
        kept: *mut f32,
        places: *mut u32,
    ) -> usize {
        let mut count = 0;
        for lane in 0..Self::LANES {
            // SAFETY: the caller's promise; `count <= lane`.
            unsafe {
                *kept.add(count) = *values.add(lane);
                *places.add(count) = first + lane as u32 * step;
                count += usize::from(*winners.add(lane) == which);
            }
        }
        count
    }
    /// `values[lane]` where `winners[lane]` is `which`, zero elsewhere.
    ///
    /// # Safety
    /// `LANES` elements can be read at `winners` and `values`.
    #[inline(always)]
    unsafe fn select_equal(winners: *const u8, which: u8, values: *const f32) -> Self {
        let mut kept = [0.0; 16];
        for (lane, kept) in kept.iter_mut().enumerate().take(Self::LANES) {
            // SAFETY: the caller's promise.
            unsafe { *kept = if *winners.add(lane) == which { *values.add(lane) } else { 0.0 } };
        }
        // SAFETY: no register has more than 16 lanes.
        unsafe { Self::load(kept.as_ptr()) }
    }
}

/// Four lanes: what every x86-64 and every 64-bit ARM has.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;
    const ROWS: usize = 6;
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    fn multiply_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + addend.0[lane]))
    }
    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }
    #[inline(always)]
    fn multiply_add_one(value: f32, factor: f32, addend: f32) -> f32 {
        value * factor + addend
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Vector};
    use std::arch::x86_64::*;

    /// # Safety
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    /// # Safety
    /// The machine has AVX-512 F, BW, DQ and VL, AVX2 and FMA.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    macro_rules! register {
        ($name:ident, $inner:ty, $lanes:literal, $rows:literal, $set:ident, $load:ident, $store:ident, $fma:ident, $sub:ident $(, $extra:item)*) => {
            #[derive(Clone, Copy)]
            pub(crate) struct $name($inner);

            // SAFETY (all blocks): a vector of this type is only made inside `run_*`, which the machine's features allow; the
            // memory is the caller's promise.
            impl Vector for $name {
                const LANES: usize = $lanes;
                const ROWS: usize = $rows;
                #[inline(always)]
                fn splat(value: f32) -> Self {
                    // SAFETY: above.
                    Self(unsafe { $set(value) })
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: above.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: above.
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                fn multiply_add(self, factor: Self, addend: Self) -> Self {
                    // SAFETY: above.
                    Self(unsafe { $fma(self.0, factor.0, addend.0) })
                }
                #[inline(always)]
                fn subtract(self, other: Self) -> Self {
                    // SAFETY: above.
                    Self(unsafe { $sub(self.0, other.0) })
                }
                #[inline(always)]
                fn multiply_add_one(value: f32, factor: f32, addend: f32) -> f32 {
                    // One instruction: this is inlined into a function that has it.
                    value.mul_add(factor, addend)
                }
                $($extra)*
            }
        };
    }

    register!(Avx2, __m256, 8, 6, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_sub_ps);
    register!(
        Avx512,
        __m512,
        16,
        14,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_sub_ps,
        #[inline(always)]
        unsafe fn keep_equal(
            winners: *const u8,
            which: u8,
            values: *const f32,
            first: u32,
            step: u32,
            kept: *mut f32,
            places: *mut u32,
        ) -> usize {
            // SAFETY: the caller's promise, and the features as above. AVX-512 packs a register in one instruction.
            unsafe {
                let mask = _mm_cmpeq_epi8_mask(_mm_loadu_si128(winners.cast()), _mm_set1_epi8(which as i8));
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let own =
                    _mm512_add_epi32(_mm512_set1_epi32(first as i32), _mm512_mullo_epi32(lanes, _mm512_set1_epi32(step as i32)));
                _mm512_storeu_ps(kept, _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(values)));
                _mm512_storeu_si512(places.cast(), _mm512_maskz_compress_epi32(mask, own));
                mask.count_ones() as usize
            }
        },
        #[inline(always)]
        unsafe fn select_equal(winners: *const u8, which: u8, values: *const f32) -> Self {
            // SAFETY: as above.
            unsafe {
                let mask = _mm_cmpeq_epi8_mask(_mm_loadu_si128(winners.cast()), _mm_set1_epi8(which as i8));
                Self(_mm512_maskz_loadu_ps(mask, values))
            }
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_set_is_always_there_and_the_best_one_last() {
        let all = Isa::available();
        assert_eq!(all[0], Isa::PORTABLE);
        assert_eq!(*all.last().unwrap(), Isa::best());
        assert!(all.is_sorted());
    }
}

//! The choice of an instruction set, made once at run time.
//!
//! A kernel is written once, generic over [`Vector`], and compiled for every instruction set: [`Isa::run`] enters a
//! function that carries the right `target_feature`, into which the kernel and the vector operations are inlined.

use std::fmt;
use std::sync::OnceLock;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[macro_use]
mod register;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use portable::Portable;

static BEST: OnceLock<Isa> = OnceLock::new();

/// An instruction set that this machine has: a value of this type is the proof that its kernels may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Plain Rust, for every machine. Multiplies and adds are rounded separately: its results differ in the last bits from
    /// those of the other sets, which fuse them.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// All sets that this machine can run, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other machines have no more")]
        let mut all = vec![Self::PORTABLE];
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Kind::Neon));
        }
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
            // `run_avx512` enables the features of both.
            if avx2 && avx512 {
                all.push(Self(Kind::Avx512));
            }
        }
        all
    }

    /// The fastest set of this machine, or the one of [`Isa::make_best`].
    pub fn best() -> Self {
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::PORTABLE))
    }

    /// Makes this set the one that [`Isa::best`] returns, to the end of the process.
    ///
    /// # Errors
    /// The other set that was returned before.
    pub fn make_best(self) -> Result<(), Self> {
        let best = *BEST.get_or_init(|| self);
        if best == self { Ok(()) } else { Err(best) }
    }

    /// Number of `f32` that one register holds.
    pub fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::LANES,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => neon::Neon::LANES,
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

    /// Most rows of one tile of a matrix product: as many as the registers hold.
    pub fn rows(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::ROWS,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => neon::Neon::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => x86::Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => x86::Avx512::ROWS,
        }
    }

    /// Runs a kernel with this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => kernel.run::<Portable>(),
            // SAFETY: the value exists only if the machine has the instructions (`available`).
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { neon::run_neon(kernel) },
            // SAFETY: as above.
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
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        })
    }
}

/// A computation written once for every instruction set. Implementations mark `run` as `#[inline(always)]`: it must end up
/// inside the function that carries the `target_feature`.
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
    /// The numbers within bounds: `low` or `high` where they are outside. NaN stays NaN, and -0 at a bound of 0 is -0.
    fn between(self, low: Self, high: Self) -> Self;
    /// [`Vector::between`] of one number.
    #[inline(always)]
    fn between_one(value: f32, low: f32, high: f32) -> f32 {
        let raised = if low > value { low } else { value };
        if high < raised { high } else { raised }
    }
    /// [`Vector::multiply_add`] on one number, rounded in the same way.
    fn multiply_add_one(value: f32, factor: f32, addend: f32) -> f32;
    /// Packs each `values[lane]` whose `winners[lane]` is `which` to the front of `kept`, and its `first + lane * step` to the
    /// front of `places`; returns their number.
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
                // Wraps as registers do: lanes that are not kept may overflow.
                *places.add(count) = first.wrapping_add((lane as u32).wrapping_mul(step));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_set_is_always_there_and_the_best_one_last() {
        let all = Isa::available();
        assert_eq!(all[0], Isa::PORTABLE);
        assert_eq!(*all.last().unwrap(), Isa::best());
        assert!(all.is_sorted());
        #[cfg(target_arch = "aarch64")] // every such machine has NEON
        assert_eq!(all.last().unwrap().to_string(), "neon");
    }

    /// Runs every operation on one register.
    struct Operations {
        a: [f32; 16],
        b: [f32; 16],
        winners: [u8; 16],
    }

    const BOUNDS: [[f32; 2]; 2] = [[-0.5, 2.0], [0.0, f32::INFINITY]];

    /// Numbers on both sides of the bounds, and NaN; one of each in the first four.
    const SPECIAL: [f32; 16] =
        [-1.0, f32::NAN, 3.0, -0.0, -0.5, 2.0, 0.0, 1.5, f32::NEG_INFINITY, f32::INFINITY, 2.5, -0.25, f32::NAN, -7.0, 1.0, 2.0];

    /// Results: sums and differences, numbers within bounds, `keep_equal`'s numbers and positions, `select_equal`'s lanes.
    #[derive(Debug, PartialEq)]
    struct Results {
        fused: Vec<f32>,
        fused_one: Vec<f32>,
        differences: Vec<f32>,
        between: Vec<u32>,
        between_one: Vec<u32>,
        kept: Vec<(f32, u32)>,
        selected: Vec<f32>,
    }

    impl Kernel for Operations {
        type Output = Results;
        #[inline(always)]
        fn run<V: Vector>(self) -> Results {
            let Self { a, b, winners } = self;
            let lanes = |vector: V| {
                let mut out = [0.0; 16];
                // SAFETY: no register has more than 16 lanes.
                unsafe { vector.store(out.as_mut_ptr()) };
                out[..V::LANES].to_vec()
            };
            let (mut kept, mut places) = ([0.0; 16], [0; 16]);
            // SAFETY: all arrays have 16 elements.
            let (x, y, special, count, selected) = unsafe {
                let count = V::keep_equal(winners.as_ptr(), 2, a.as_ptr(), 7, 5, kept.as_mut_ptr(), places.as_mut_ptr());
                let selected = V::select_equal(winners.as_ptr(), 2, a.as_ptr());
                (V::load(a.as_ptr()), V::load(b.as_ptr()), V::load(SPECIAL.as_ptr()), count, selected)
            };
            Results {
                fused: lanes(x.multiply_add(y, V::splat(-1.0))),
                fused_one: (0..V::LANES).map(|lane| V::multiply_add_one(a[lane], b[lane], -1.0)).collect(),
                differences: lanes(x.subtract(y)),
                between: BOUNDS
                    .iter()
                    .flat_map(|&[low, high]| lanes(special.between(V::splat(low), V::splat(high))))
                    .map(f32::to_bits)
                    .collect(),
                between_one: BOUNDS
                    .iter()
                    .flat_map(|&[low, high]| SPECIAL[..V::LANES].iter().map(move |&x| V::between_one(x, low, high).to_bits()))
                    .collect(),
                kept: kept.into_iter().zip(places).take(count).collect(),
                selected: lanes(selected),
            }
        }
    }

    #[test]
    fn every_operation_on_a_register_is_its_definition() {
        for isa in Isa::available() {
            let lanes = 0..isa.lanes();
            // (1 + x)(1 - x) - 1 is -x², or 0 if the product is rounded first.
            let a: [f32; 16] = std::array::from_fn(|lane| 1.0 + (lane + 1) as f32 / 8192.0);
            let b = a.map(|a| 2.0 - a);
            for pattern in 0..1 << 16 {
                if pattern & 0xfff0 == 0 || pattern % 97 == 0 {
                    let winners: [u8; 16] = std::array::from_fn(|lane| 3 - (pattern >> lane & 1) as u8);
                    let sum =
                        |lane: usize| if isa == Isa::PORTABLE { a[lane] * b[lane] - 1.0 } else { a[lane].mul_add(b[lane], -1.0) };
                    let own = |lane: &usize| winners[*lane] == 2;
                    let clamped: Vec<u32> = BOUNDS
                        .iter()
                        .flat_map(|&[low, high]| SPECIAL[..isa.lanes()].iter().map(move |x| x.clamp(low, high).to_bits()))
                        .collect();
                    let expected = Results {
                        fused: lanes.clone().map(sum).collect(),
                        fused_one: lanes.clone().map(sum).collect(),
                        differences: lanes.clone().map(|lane| a[lane] - b[lane]).collect(),
                        between: clamped.clone(),
                        between_one: clamped,
                        kept: lanes.clone().filter(own).map(|lane| (a[lane], 7 + 5 * lane as u32)).collect(),
                        selected: lanes.clone().map(|lane| if own(&lane) { a[lane] } else { 0.0 }).collect(),
                    };
                    assert_eq!(isa.run(Operations { a, b, winners }), expected, "{isa}, winners {winners:?}");
                }
            }
        }
    }
}

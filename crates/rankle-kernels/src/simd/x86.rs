//! AVX2 with FMA, and AVX-512.

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

/// Per mask of eight lanes the numbers of its lanes, in order, and zeros behind.
static LANES_OF: [[u32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut count) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][count] = lane;
                count += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

register!(
    Avx2,
    __m256,
    8,
    6,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_sub_ps,
    _mm256_min_ps,
    _mm256_max_ps,
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
        // SAFETY: the caller's promise, and the features as above.
        unsafe {
            let equal = _mm_cmpeq_epi8(_mm_loadl_epi64(winners.cast()), _mm_set1_epi8(which as i8));
            let mask = _mm_movemask_epi8(equal) as usize & 0xff;
            let lanes = _mm256_loadu_si256(LANES_OF[mask].as_ptr().cast());
            let own =
                _mm256_add_epi32(_mm256_set1_epi32(first as i32), _mm256_mullo_epi32(lanes, _mm256_set1_epi32(step as i32)));
            _mm256_storeu_ps(kept, _mm256_permutevar8x32_ps(_mm256_loadu_ps(values), lanes));
            _mm256_storeu_si256(places.cast(), own);
            mask.count_ones() as usize
        }
    },
    #[inline(always)]
    unsafe fn select_equal(winners: *const u8, which: u8, values: *const f32) -> Self {
        // SAFETY: as above.
        unsafe {
            let equal = _mm_cmpeq_epi8(_mm_loadl_epi64(winners.cast()), _mm_set1_epi8(which as i8));
            Self(_mm256_and_ps(_mm256_castsi256_ps(_mm256_cvtepi8_epi32(equal)), _mm256_loadu_ps(values)))
        }
    }
);
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
    _mm512_min_ps,
    _mm512_max_ps,
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

//! NEON, the vectors of 64-bit ARM.

use super::{Kernel, Vector};
use std::arch::aarch64::*;

/// # Safety
/// The machine has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run_neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon>()
}

/// Fused multiply-add: the instruction takes the addend first.
///
/// # Safety
/// As [`run_neon`].
#[inline(always)]
unsafe fn fused(value: float32x4_t, factor: float32x4_t, addend: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { vfmaq_f32(addend, value, factor) }
}

/// `a` where it is less than `b`, else `b`, as on x86.
///
/// # Safety
/// As [`run_neon`].
#[inline(always)]
unsafe fn smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
}

/// `a` where it is greater than `b`, else `b`, as on x86.
///
/// # Safety
/// As [`run_neon`].
#[inline(always)]
unsafe fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

// 12 rows: 24 of the 32 registers hold sums, two the columns, and the compiler has six for the factors of the next rows.
register!(
    Neon,
    float32x4_t,
    4,
    12,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    fused,
    vsubq_f32,
    smaller,
    larger,
    #[inline(always)]
    unsafe fn select_equal(winners: *const u8, which: u8, values: *const f32) -> Self {
        // SAFETY: the caller's promise, and the feature as above. Only four bytes are read; each comparison's all-ones or
        // all-zeros byte is widened to a mask of its lane.
        unsafe {
            let mut eight = [0; 8];
            winners.copy_to_nonoverlapping(eight.as_mut_ptr(), 4);
            let equal = vreinterpret_s8_u8(vceq_u8(vld1_u8(eight.as_ptr()), vdup_n_u8(which)));
            let mask = vreinterpretq_u32_s32(vmovl_s16(vget_low_s16(vmovl_s8(equal))));
            Self(vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(vld1q_f32(values)))))
        }
    }
);

//! Common code of the registers of all instruction sets, which differ in the names of their intrinsics.

/// Defines `$name`, a [`Vector`](super::Vector) of `$lanes` numbers in an `$inner`, with tiles of at most `$rows` rows.
///
/// `$fma(value, factor, addend)` rounds once; `$min(a, b)` is `a` where `a < b` and else `b`, as `$max` where `a > b`. `$extra` replaces default methods of the trait.
macro_rules! register {
    ($name:ident, $inner:ty, $lanes:literal, $rows:literal, $set:ident, $load:ident, $store:ident, $fma:ident, $sub:ident, $min:ident, $max:ident $(, $extra:item)*) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name($inner);

        // SAFETY (all blocks): a vector of this type is only made inside `run_*`, whose features the machine has; the
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
            fn between(self, low: Self, high: Self) -> Self {
                // SAFETY: above. Of two that are equal or not ordered, `$min` and `$max` take the second one.
                Self(unsafe { $min(high.0, $max(low.0, self.0)) })
            }
            #[inline(always)]
            fn multiply_add_one(value: f32, factor: f32, addend: f32) -> f32 {
                // One instruction: this is inlined into a function that enables it.
                value.mul_add(factor, addend)
            }
            $($extra)*
        }
    };
}

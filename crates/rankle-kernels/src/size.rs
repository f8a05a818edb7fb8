//! Saturating arithmetic for sizes that callers give: shapes, strides, numbers of images.
//!
//! A safe caller may give any number, and release builds wrap: 2^60 + 1 images of 16 numbers would pass for 16 numbers. These
//! functions saturate instead. No slice has `usize::MAX` elements, so a check against the length of a slice fails, and no
//! vector of that length can be allocated. All sizes that `unsafe` code relies on are computed with these functions; where
//! such a check has passed, plain arithmetic on the same numbers cannot wrap.

/// The product of all factors, or `usize::MAX` if it does not fit.
#[inline(always)]
pub(crate) const fn product<const N: usize>(factors: [usize; N]) -> usize {
    let (mut product, mut at) = (1usize, 0);
    while at < N {
        product = product.saturating_mul(factors[at]);
        at += 1;
    }
    product
}

/// The sum of all terms, or `usize::MAX` if it does not fit.
#[inline(always)]
pub(crate) const fn sum<const N: usize>(terms: [usize; N]) -> usize {
    let (mut sum, mut at) = (0usize, 0);
    while at < N {
        sum = sum.saturating_add(terms[at]);
        at += 1;
    }
    sum
}

/// The smallest multiple of `unit` that is at least `len`, or the largest multiple of all if that does not fit: the loops of
/// the kernels rely on a multiple. No slice is as long as the largest multiple.
#[inline(always)]
pub(crate) const fn whole(len: usize, unit: usize) -> usize {
    len.saturating_add(unit - 1) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_as_large_as_can_be() {
        let half = 1 << (usize::BITS / 2);
        assert_eq!(product([]), 1);
        assert_eq!(product([3, 5, 7]), 105);
        assert_eq!(product([half, half - 1, 1]), half * (half - 1));
        assert_eq!(product([half, half]), usize::MAX);
        assert_eq!(product([half + 1, half, 16]), usize::MAX);
        // A product with a factor of 0 is 0, however large the other factors are.
        assert_eq!(product([half, half, 0]), 0);
        assert_eq!(sum([1, 2, 3]), 6);
        assert_eq!(sum([usize::MAX, 1, 2]), usize::MAX);
        assert_eq!([whole(0, 16), whole(1, 16), whole(16, 16), whole(usize::MAX - 1, 16)], [0, 16, 16, usize::MAX - 15]);
    }
}

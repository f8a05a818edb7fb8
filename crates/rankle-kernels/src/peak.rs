//! How many operations a second this machine could do at the most: the yardstick of the benchmarks.

use crate::simd::{Isa, Kernel, Vector};
use crate::size::product;
use std::hint::black_box;

/// Independent chains of multiply-adds: enough to hide the latency of every machine, few enough for the registers of all.
const CHAINS: usize = 12;

/// Multiplies and adds `rounds` times in each of a dozen registers and touches no memory: no kernel can surpass that.
pub fn multiply_adds(isa: Isa, rounds: usize) {
    black_box(isa.run(MultiplyAdds { rounds }));
}

/// How many operations [`multiply_adds`] makes: a multiply-add of one number counts as two.
pub fn operations(isa: Isa, rounds: usize) -> u64 {
    product([2, CHAINS, isa.lanes(), rounds]) as u64
}

struct MultiplyAdds {
    rounds: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<V: Vector>(self) -> f32 {
        // Values that the compiler cannot know, and that stay near one.
        let (factor, addend) = (V::splat(black_box(0.5)), V::splat(black_box(0.5)));
        let mut chains: [V; CHAINS] = std::array::from_fn(|chain| V::splat(black_box(chain as f32)));
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = chain.multiply_add(factor, addend);
            }
        }
        let mut lanes = [0.0f32; 16];
        let mut total = 0.0;
        for chain in chains {
            // SAFETY: no register has more than 16 lanes.
            unsafe { chain.store(lanes.as_mut_ptr()) };
            total += lanes.iter().sum::<f32>();
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chains_compute_what_is_counted() {
        for isa in Isa::available() {
            assert_eq!(operations(isa, 1000), 24_000 * isa.lanes() as u64);
            // x/2 + 1/2 from 0 to 11: no round leaves the sum of the starts, one halves its distance to the fixed point 1.
            let lanes = isa.lanes() as f32;
            assert_eq!(isa.run(MultiplyAdds { rounds: 0 }), 66.0 * lanes);
            assert_eq!(isa.run(MultiplyAdds { rounds: 1 }), 39.0 * lanes);
        }
    }
}

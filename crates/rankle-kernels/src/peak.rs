//! Peak rate of multiply-adds of this machine: the yardstick of the benchmarks.

use crate::simd::{Isa, Kernel, Vector};
use crate::size::product;
use std::hint::black_box;

/// Number of independent chains of multiply-adds: enough to hide the latency of every machine, few enough for all registers.
const CHAINS: usize = 12;

/// Multiplies and adds `rounds` times in each of 12 registers without accessing memory: no kernel can be faster.
pub fn multiply_adds(isa: Isa, rounds: usize) {
    black_box(isa.run(MultiplyAdds { rounds }));
}

/// Number of operations in [`multiply_adds`]: a multiply-add of one number counts as two.
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
        // Values that the compiler cannot know, and that keep the chains near one.
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
            // The chains start at 0 to 11, with a sum of 66; a round of x/2 + 1/2 makes that (66 + 12) / 2.
            let lanes = isa.lanes() as f32;
            assert_eq!(isa.run(MultiplyAdds { rounds: 0 }), 66.0 * lanes);
            assert_eq!(isa.run(MultiplyAdds { rounds: 1 }), 39.0 * lanes);
        }
    }
}

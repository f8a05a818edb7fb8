//! One crate alone: how good is a ranking of embeddings that come from elsewhere? `cargo run --example one_crate`.

use candle_core::{Device, Tensor};
use rankle_core::{Distance, Gallery, Result};
use std::ops::ControlFlow;

fn main() -> Result<()> {
    let embeddings = Tensor::new(&[[1.0f32, 0.1], [1.0, 0.2], [0.1, 1.0], [1.0, 0.9]], &Device::Cpu)?;
    let labels = [0, 0, 1, 1];
    let gallery = Gallery::new(&Distance::Cosine.normalize(&embeddings)?)?;
    let found = rankle_metrics::leave_one_out(&gallery, &labels, &mut |_done| ControlFlow::Continue(()))?;
    println!("recall at 1: {:.0} %", 100.0 * found.recall_at(1));
    assert_eq!(found.recall_at(1), 0.75); // the last one is nearer to the second one than to the third
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn three_of_four_are_found() {
        super::main().unwrap();
    }
}

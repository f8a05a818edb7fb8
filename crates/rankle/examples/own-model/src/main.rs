//! rankle with one model more: every command knows `transformer`.

mod transformer;

use rankle::{Backbone, Registry};
use rankle_core::InputSpec;
use std::process::ExitCode;
use transformer::{EMBEDDING, SIDE, Transformer};

fn main() -> ExitCode {
    let transformer = Backbone {
        name: "transformer",
        input: InputSpec::of_shape((1, SIDE, SIDE)),
        embedding_size: EMBEDDING,
        load: |tensors, distance| Ok(Box::new(Transformer::of(tensors, distance)?)),
        initialise: Some(|distance, seed| Ok(Box::new(Transformer::random(distance, seed)?))),
    };
    ExitCode::from(rankle::run_with(Registry { backbones: vec![transformer] }, std::env::args_os()))
}

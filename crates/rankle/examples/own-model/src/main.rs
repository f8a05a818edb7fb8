//! rankle with an added model, loss and attack: all commands know `transformer`, `--loss neighborhood`, `--attack bottom-up+`.

#[path = "../../adding/attack.rs"]
mod attack;
#[path = "../../adding/loss.rs"]
mod loss;
mod transformer;

use rankle::{Backbone, CustomAttack, CustomLoss, Registry};
use rankle_attacks::{Declaration, Direction};
use rankle_core::InputSpec;
use rankle_models::TensorModel;
use std::process::ExitCode;
use transformer::{EMBEDDING, SIDE, Transformer};

fn main() -> ExitCode {
    let transformer = Backbone {
        name: "transformer",
        input: InputSpec::of_shape((1, SIDE, SIDE)),
        embedding_size: EMBEDDING,
        load: |tensors, distance, place| Ok(Box::new(TensorModel::new(Box::new(Transformer), tensors, distance, place)?)),
        initialize: Some(|distance, seed, place| {
            Ok(Box::new(TensorModel::new(Box::new(Transformer), &transformer::random(seed)?, distance, place)?.with_seed(seed)))
        }),
    };
    let neighborhood = CustomLoss {
        name: "neighborhood",
        evaluate: |points, labels, margin| loss::NeighborhoodLoss { temperature: margin }.evaluate(points, labels),
    };
    let (name, letter, moves) = ("bottom-up+", "m", "the last item rises in the list of the image");
    let declaration = Declaration { name, letter, moves, direction: Some(Direction::Raise), unit: "percent of the gallery" };
    let bottom_up = CustomAttack { declaration, build: |_, _| Box::new(attack::BottomUp) };
    let registry = Registry { backbones: vec![transformer], losses: vec![neighborhood], attacks: vec![bottom_up] };
    ExitCode::from(rankle::run_with(registry, std::env::args_os()))
}

//! A new dataset, backbone, loss, attack and experiment, in one file each, put together here; in the workspace their registration
//! does that. `cargo run --release --example adding`.

mod attack;
mod backbone;
mod dataset;
mod experiment;
mod loss;

use attack::BottomUp;
use backbone::Energies;
use dataset::Gratings;
use loss::NeighborhoodLoss;
use rankle_attacks::{CandidateAttack, Direction, Protocol, RankingAttack, Scene, Setting, sample_images};
use rankle_core::{Dataset, Distance, Embedder, Gallery, Seed, Sets};
use rankle_train::{Progress, Recipe, Training};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = Seed(0);
    let (training, test) = (Gratings::new(600, Seed(1)), Gratings::new(300, Seed(2)));
    let mut model = Energies::new(training.shape(), seed)?;

    let everything: Vec<usize> = (0..test.len()).collect();
    let recall = |model: &Energies| -> rankle_core::Result<(Gallery, f64)> {
        let gallery = Gallery::new(&model.distance().normalize(&model.embed(&test.images(&everything)?)?)?)?;
        let found = rankle_metrics::leave_one_out(&gallery, test.labels(), &mut |_done| ControlFlow::Continue(()))?;
        Ok((gallery, found.recall_at(1)))
    };
    let (_, before) = recall(&model)?;

    let recipe = Recipe { epochs: 10, batch_size: 100, learning_rate: 1e-2, ..Recipe::paper(Distance::Cosine) };
    let training = Training { dataset: &training, recipe, defense: None, seed };
    let loss = NeighborhoodLoss { temperature: 0.1 };
    training.run_with(
        &mut model,
        &|labels, _step| Some(Box::new(move |points| loss.evaluate(points, labels))),
        Progress::default(),
        &mut |_moment, _model| ControlFlow::Continue(()),
    )?;
    let (gallery, after) = recall(&model)?;
    println!("recall at 1: {:.1} % untrained, {:.1} % trained\n", 100.0 * before, 100.0 * after);
    assert!(after > 0.9 && after > before);

    let setting = Setting {
        embedder: &model,
        scene: Scene { sets: Sets::one(&gallery), protocol: Protocol::Paper, seed },
        images: Sets::one(&test),
        batch_size: 50,
        eight_bit: false,
        keep_images: false,
    };
    let images = sample_images(seed, gallery.len(), 50);
    let attacks: [(&str, &dyn RankingAttack); 2] =
        [("ca+", &CandidateAttack::new(Direction::Raise, 1)), ("bottom-up", &BottomUp)];
    let rows = experiment::run_all(&setting, &images, &attacks)?;
    print!("{}", experiment::table(&attacks, &rows));
    // The last item of a list rises further in a larger ball.
    let ranks: Vec<f64> = rows.iter().map(|(_, ranks)| ranks[1]).collect();
    assert!(ranks[0] > 0.99 && ranks.windows(2).all(|pair| pair[1] < pair[0]));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_that_was_added_works_together() {
        super::main().unwrap();
    }
}

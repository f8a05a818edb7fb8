//! Photographs: Stanford Online Products, and a drawn set in its layout that only tries the pipeline.

use super::tables::{Slice, Tables};
use super::{Experiment, Outcome, Published};
use crate::reproduce::{Scope, Session};
use crate::{files, synth};
use anyhow::{Result, ensure};
use rankle_cli::say;
use rankle_report::System;
use rankle_report::published::Table;
use std::path::PathBuf;
use std::sync::LazyLock;

/// With time, the paper's data, network and loss, from random weights (the paper also starts from ImageNet's); with little time every
/// step of it on small drawn images. A defended model for 224×224 takes weeks of two cores, by the estimate in `costs.toml`, and what
/// a few steps make of one says nothing about it: no number of the second kind is called a result.
pub(super) struct Products;

const NAME: &str = "products";
const SUMMARY: &str = "Stanford Online Products, ResNet-18, plain and defended; --quick only tries the pipeline";
/// The clean image, and the paper's three.
const EPSILONS: [f64; 4] = [0.0, 0.01, 0.03, 0.06];
const SLICE: Slice = Slice { epsilons: &[0.0, 0.06], targets: &[1] };
const PANELS: &[(&str, &str)] = &[("sop-et", "sop-et"), ("sop-etd", "sop-etd")];

static PHOTOGRAPHS: Tables = Tables {
    name: NAME,
    summary: SUMMARY,
    title: "Stanford Online Products",
    tables: || {
        static TABLES: LazyLock<[Table; 2]> = LazyLock::new(|| {
            let mut tables = tables("resnet18");
            for (table, (recall_at_1, notes)) in tables.iter_mut().zip(NOTES) {
                table.recall_at_1 = Some(recall_at_1);
                table.source = Some(format!("cdluminate/advrank: Code/models/sopE_res18_trip.py, {notes}"));
            }
            tables
        });
        TABLES.iter().collect()
    },
    slice: SLICE,
    panels: PANELS,
};

static DRAWN: Tables = Tables {
    title: "A pipeline check on drawn products of 64×64 pixels: it shows that everything runs, and claims nothing",
    tables: || {
        static TABLES: LazyLock<[Table; 2]> = LazyLock::new(|| tables("resnet18,size=64"));
        TABLES.iter().collect()
    },
    ..PHOTOGRAPHS
};

/// Products and views of each, half of the products for training: SP-QA- draws six items from the first hundredth of the others.
const PRODUCTS: u32 = 200;
const VIEWS: u32 = 8;

/// What the authors wrote down of a plain and a defended model that began with random weights. It says neither which ε nor which of
/// the query attacks, so it belongs into no cell.
const NOTES: [(f64, &str); 2] = [
    (45.3, "from random weights, 42 epochs; at an ε not stated ES takes R@1 from 45.1 to 0.0 with a shift of 33.9"),
    (
        25.4,
        "from random weights, 42 epochs; at an ε not stated CA+ 49.9 to 9.7, CA- 1.1 to 50.2, QA+ 50.1 to 12.8, QA- 0.5 to 49.2 \
         (w = m = 1; SP or not is not stated either), ES takes R@1 from 25.4 to 0.5 with a shift of 3.0",
    ),
];

/// The plain model and the defended one.
fn tables(model: &str) -> [Table; 2] {
    let plain = System::plain("sop", model, "euclidean", "triplet");
    let table = |id: &str, title: &str, system: System| {
        let mut table = Table::unpublished(id, title, system);
        (table.epsilons, table.targets) = (EPSILONS.into(), vec![1]);
        table
    };
    [
        table("sop-et", &format!("Products, {model}"), plain.clone()),
        table("sop-etd", &format!("Products, {model}, defended"), plain.hardened()),
    ]
}

fn of(scope: &Scope) -> &'static Tables {
    if scope.quick { &DRAWN } else { &PHOTOGRAPHS }
}

/// Where the drawn products are; drawn now if they are not.
fn drawn() -> Result<PathBuf> {
    let folder = files::root().join(format!("target/synth/{PRODUCTS}-products-{VIEWS}-views"));
    if !folder.exists() {
        say(format_args!("{NAME}: drawing {PRODUCTS} products in {VIEWS} views each, into {}", files::shown(&folder)));
        synth::draw_products((PRODUCTS, VIEWS), &folder)?;
    }
    Ok(folder)
}

impl Experiment for Products {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        SUMMARY
    }

    fn published(&self) -> Published {
        PHOTOGRAPHS.published()
    }

    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        of(scope).work(scope)
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let tables = of(&session.scope);
        if session.scope.quick {
            let driver = session.driver.with_data(drawn()?);
            return tables.run(&Session {
                driver: &driver,
                output: session.output.clone(),
                base: session.base.clone(),
                ..*session
            });
        }
        let place = files::root().join("datasets/sop");
        ensure!(
            files::holds_more_than(&place, "manifest.toml"),
            "{} holds no photographs: `cargo xtask fetch sop` gets them, and --quick tries the pipeline on drawn ones",
            files::shown(&place)
        );
        tables.run(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_time_means_small_drawn_images() {
        let ids = |scope: Scope| Products.work(&scope).iter().map(|(system, cells)| (system.id(), *cells)).collect::<Vec<_>>();
        let cells = |name: &str, cells| [(name.to_owned(), cells), (format!("{name}-est"), cells)];
        assert_eq!(ids(Scope::default()), cells("sop-resnet18-euclidean-triplet", 16));
        assert_eq!(ids(Scope::QUICK), cells("sop-resnet18,size=64-euclidean-triplet", 8));
    }

    #[test]
    fn the_slice_is_one_of_the_tables() {
        assert!(SLICE.epsilons.iter().all(|epsilon| EPSILONS.contains(epsilon)));
        let ids: Vec<_> = (PHOTOGRAPHS.tables)().iter().map(|table| (&*table.id, &*table.id)).collect();
        assert_eq!(ids, PANELS);
        // What was written down is of photographs.
        let recalls = |tables: &Tables| (tables.tables)().iter().map(|table| table.recall_at_1).collect::<Vec<_>>();
        assert_eq!((recalls(&PHOTOGRAPHS), recalls(&DRAWN)), (vec![Some(45.3), Some(25.4)], vec![None; 2]));
    }
}

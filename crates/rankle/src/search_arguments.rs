//! Options of the search for perturbations.

use crate::arguments::{self, heading};
use crate::names;
use clap::Args;
use rankle_record::{Search, SearchKind};
use std::num::NonZero;

/// The search and its parameters, where they replace the prescribed ones.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = heading::SEARCH)]
pub(crate) struct SearchArguments {
    /// Algorithm: pgd, with a fixed step; apgd, with momentum and steps that halve; square, a random search
    /// that needs no gradient; standard, several of these without parameters, the strongest of which counts
    #[arg(long, value_name = "NAME", value_parser = names::SEARCHES)]
    search: Option<SearchKind>,
    /// pgd: step size, the change of every pixel in one step, as in 0.01 or 1/255; with --norm l2 the Euclidean length of the step
    #[arg(long, value_name = "S", value_parser = arguments::positive, allow_negative_numbers = true)]
    step: Option<f64>,
    /// pgd, apgd: number of steps; 100 for apgd when left out, but 200 for attacks on single images with --protocol strict, which
    /// go from coarse to fine: with 25 steps or more about a quarter changes blocks of pixels, from four starts that 150 queries help to
    /// find, the rest pixels
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    iterations: Option<NonZero<usize>>,
    /// pgd, apgd: start at a random image within epsilon of the clean one; --random-start=false starts at the clean one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    random_start: Option<bool>,
    /// pgd, apgd: number of random starts, which more than one turns on; for each image the result with the lowest loss or, with apgd, the strongest rank counts
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    restarts: Option<NonZero<usize>>,
    /// square: number of times that each image is embedded; 1000 when left out
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    query_budget: Option<NonZero<usize>>,
}

impl SearchArguments {
    /// The search in the form of specs and cards.
    pub(crate) fn chosen(self) -> Search {
        let Self { search, step, iterations, random_start, restarts, query_budget } = self;
        let [iterations, restarts, query_budget] = [iterations, restarts, query_budget].map(|count| count.map(NonZero::get));
        Search { kind: search, step, iterations, random_start, restarts, query_budget }
    }
}

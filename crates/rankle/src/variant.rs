//! Options for attacks that differ from those of the paper's tables.

use crate::arguments;
use crate::names;
use clap::Args;
use rankle_record::{AttackOptions, ObjectiveKind, TargetPool};

/// Choices that ablations vary.
#[derive(Args)]
#[command(next_help_heading = "Variants (those of the paper's tables when left out)")]
pub(crate) struct VariantArguments {
    /// Loss that the attack minimizes: ranking, the hinges of its definition; distance, the distance to the targets; or soft-rank, a
    /// smooth count of the items on the wrong side of the targets. When left out soft-rank with apgd, else ranking
    #[arg(long, value_name = "NAME", value_parser = names::OBJECTIVES)]
    objective: Option<ObjectiveKind>,
    /// Pool that the targets of ca+, qa+ and sp-qa+ are drawn from: the whole list, or the first 1 to 5 % of the image's own list
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::TARGET_POOLS, conflicts_with = "target_indices")]
    target_band: TargetPool,
    /// Weight of the preserved items, which shall keep their ranks; only for sp-qa+ and sp-qa-
    #[arg(long, value_name = "X", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    xi: Option<f64>,
}

impl VariantArguments {
    /// The choices in the form of an [`AttackSpec`](rankle_record::AttackSpec).
    pub(crate) fn chosen(&self) -> AttackOptions {
        let Self { objective, target_band, xi } = *self;
        AttackOptions { objective, target_band, xi }
    }
}

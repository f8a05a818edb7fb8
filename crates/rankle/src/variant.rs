//! Where an attack shall differ from those of the paper's tables.

use crate::arguments;
use crate::names;
use clap::Args;
use rankle_record::{AttackOptions, ObjectiveKind, TargetPool};

/// What ablations vary.
#[derive(Args)]
#[command(next_help_heading = "Variants (those of the paper's tables when left out)")]
pub(crate) struct VariantArguments {
    /// What is lowered: by the ranking, what stands between a target and its goal; by distance, the distance to the targets
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::OBJECTIVES)]
    objective: ObjectiveKind,
    /// Where the targets of ca+, qa+ and sp-qa+ are drawn from: anywhere, or the first 1 to 5 % of the image's own list
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::BANDS, conflicts_with = "target_indices")]
    target_band: TargetPool,
    /// The weight of the items that stay in front; only for sp-qa+ and sp-qa-
    #[arg(long, value_name = "X", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    xi: Option<f64>,
}

impl VariantArguments {
    /// As a spec has them.
    pub(crate) fn chosen(&self) -> AttackOptions {
        let Self { objective, target_band, xi } = *self;
        AttackOptions { objective, target_band, xi }
    }
}

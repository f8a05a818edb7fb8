//! Where an attack shall differ from those of the paper's tables.

use crate::arguments;
use crate::names;
use crate::stop::Stop;
use clap::Args;
use rankle_attacks::{Band, Direction, Kind, Objective, Variant};

/// What ablations vary.
#[derive(Args)]
#[command(next_help_heading = "Variants (those of the paper's tables when left out)")]
pub(crate) struct VariantArguments {
    /// What is lowered: by the ranking, what stands between a target and its goal; by distance, the distance to the targets
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::OBJECTIVES)]
    objective: Objective,
    /// Where the targets of ca+, qa+ and sp-qa+ are drawn from: anywhere, or the first 1 to 5 % of the image's own list
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::BANDS, conflicts_with = "target_indices")]
    target_band: Band,
    /// The weight of the items that stay in front; only for sp-qa+ and sp-qa-
    #[arg(long, value_name = "X", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    xi: Option<f64>,
}

impl VariantArguments {
    /// The variant of one attack.
    ///
    /// # Errors
    /// [`Stop`] where the attack has no such thing to vary.
    pub(crate) fn of(&self, attack: Kind) -> Result<Variant, Stop> {
        let Self { objective, target_band: band, xi } = *self;
        let variant = Variant { objective, band, xi };
        check(attack, variant).map_err(Stop::usage)?;
        Ok(variant)
    }
}

/// Whether an attack has the objective and the band of targets that a variant names.
///
/// # Errors
/// One line.
pub(crate) fn check(attack: Kind, Variant { objective, band, xi }: Variant) -> Result<(), String> {
    use Kind::{Candidate, PreservingQuery, Query, Shift};
    if xi.is_some() && !matches!(attack, PreservingQuery(_)) {
        return Err(format!("xi (--xi) weighs the items that sp-qa+ and sp-qa- keep in front; {attack} keeps none"));
    }
    if objective != Objective::Ranking && attack == Shift {
        return Err(format!("the objective '{objective}' is for attacks with targets; {attack} has none"));
    }
    if band != Band::Global
        && !matches!(attack, Candidate(Direction::Raise) | Query(Direction::Raise) | PreservingQuery(Direction::Raise))
    {
        return Err(format!("the target band '{band}' is for ca+, qa+ and sp-qa+, not for {attack}"));
    }
    Ok(())
}

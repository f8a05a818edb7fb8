//! Where a search shall differ from what its protocol prescribes.

use rankle_attacks::Pgd;

/// What is asked for; the protocol's own where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Search {
    pub(crate) step: Option<f64>,
    pub(crate) iterations: Option<usize>,
    pub(crate) random_start: Option<bool>,
    pub(crate) restarts: Option<usize>,
}

impl Search {
    /// The search of a protocol, changed. A search that starts at the clean image is made once unless several are asked for.
    ///
    /// # Errors
    /// How many searches would be all alike, for they start at the clean image.
    pub(crate) fn change(self, usual: Pgd) -> Result<Pgd, usize> {
        let random_start = self.random_start.unwrap_or(usual.random_start);
        let restarts = self.restarts.unwrap_or(if random_start { usual.restarts } else { 1 });
        if restarts > 1 && !random_start {
            return Err(restarts);
        }
        let (step, iterations) = (self.step.unwrap_or(usual.step), self.iterations.unwrap_or(usual.iterations));
        Ok(Pgd { step, iterations, random_start, restarts, ..usual })
    }
}

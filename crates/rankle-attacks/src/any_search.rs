//! Searches of every kind under one type, with their cost.

use crate::{Apgd, Pgd, Problem, Solver, Square, Standard, Threat};
use candle_core::Tensor;
use rankle_core::{Differentiable, Result};
use rankle_record::{Search, SearchKind};
use std::iter::Sum;

/// A search of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnySearch {
    /// Projected gradient descent.
    Pgd(Pgd),
    /// Auto-PGD.
    Apgd(Apgd),
    /// Square attack.
    Square(Square),
    /// The standard attack.
    Standard(Standard),
}

/// Cost of a search for each image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of input gradients.
    pub gradients: u64,
    /// Number of embeddings beside those of the gradients.
    pub queries: u64,
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            gradients: sum.gradients.saturating_add(cost.gradients),
            queries: sum.queries.saturating_add(cost.queries),
        })
    }
}

impl From<Pgd> for AnySearch {
    fn from(search: Pgd) -> Self {
        Self::Pgd(search)
    }
}

impl From<Apgd> for AnySearch {
    fn from(search: Apgd) -> Self {
        Self::Apgd(search)
    }
}

impl From<Square> for AnySearch {
    fn from(search: Square) -> Self {
        Self::Square(search)
    }
}

impl From<Standard> for AnySearch {
    fn from(search: Standard) -> Self {
        Self::Standard(search)
    }
}

impl AnySearch {
    /// Norm and radius of the ball.
    pub fn threat(&self) -> Threat {
        match self {
            Self::Pgd(search) => search.threat,
            Self::Apgd(search) => search.threat,
            Self::Square(search) => search.threat,
            Self::Standard(search) => search.threat,
        }
    }

    /// The search in another ball, with the same steps.
    pub(crate) fn with_threat(self, threat: Threat) -> Self {
        match self {
            Self::Pgd(search) => Self::Pgd(Pgd { threat, ..search }),
            Self::Apgd(search) => Self::Apgd(Apgd { threat, ..search }),
            Self::Square(search) => Self::Square(Square { threat, ..search }),
            Self::Standard(_) => Self::Standard(Standard { threat }),
        }
    }

    /// Its name.
    pub fn kind(&self) -> SearchKind {
        match self {
            Self::Pgd(_) => SearchKind::Pgd,
            Self::Apgd(_) => SearchKind::Apgd,
            Self::Square(_) => SearchKind::Square,
            Self::Standard(_) => SearchKind::Standard,
        }
    }

    /// All its parameters, as a record has them.
    pub fn parameters(&self) -> Search {
        match *self {
            // Records of PGD do not name it.
            Self::Pgd(Pgd { step, iterations, random_start, restarts, .. }) => Search {
                step: Some(step),
                iterations: Some(iterations),
                random_start: Some(random_start),
                restarts: Some(restarts),
                ..Search::default()
            },
            Self::Apgd(Apgd { iterations, random_start, restarts, .. }) => Search {
                kind: Some(self.kind()),
                iterations: Some(iterations),
                random_start: Some(random_start),
                restarts: Some(restarts),
                ..Search::default()
            },
            Self::Square(Square { queries, .. }) => {
                Search { kind: Some(self.kind()), query_budget: Some(queries), ..Search::default() }
            }
            Self::Standard(_) => Search { kind: Some(self.kind()), ..Search::default() },
        }
    }

    /// Cost of the search for each image, as a [`Solver`].
    pub fn cost(&self) -> Cost {
        if self.threat().radius() == 0.0 {
            return Cost::default();
        }
        match self {
            Self::Pgd(search) => search.cost(),
            Self::Apgd(search) => search.cost(),
            Self::Square(search) => Cost { gradients: 0, queries: search.queries as u64 },
            Self::Standard(search) => search.cost(),
        }
    }
}

impl<M: Differentiable + ?Sized> Solver<M> for AnySearch {
    fn threat(&self) -> Threat {
        self.threat()
    }

    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor> {
        match self {
            Self::Pgd(search) => search.solve(model, problem),
            Self::Apgd(search) => search.solve(model, problem),
            Self::Square(search) => search.solve(model, problem),
            Self::Standard(search) => search.solve(model, problem),
        }
    }
}

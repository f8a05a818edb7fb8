//! The two sets of images of a ranking: gallery and queries.

/// Role of an image in a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An item of the gallery, ranked for queries.
    Candidate,
    /// An image for which the gallery is ranked.
    Query,
}

impl Role {
    /// The other role.
    pub fn other(self) -> Self {
        match self {
            Self::Candidate => Self::Query,
            Self::Query => Self::Candidate,
        }
    }
}

/// Gallery and queries: two sets, or one set in both roles. In one set every query is an item of the gallery; where a
/// rule leaves it out of its own list, it does so by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets<T> {
    /// The set that is ranked.
    pub gallery: T,
    /// The set that the gallery is ranked for; `None` if that is the gallery itself.
    pub queries: Option<T>,
}

impl<T> Sets<T> {
    /// One set in both roles.
    pub fn one(gallery: T) -> Self {
        Self { gallery, queries: None }
    }

    /// True if one set has both roles.
    pub fn is_one(&self) -> bool {
        self.queries.is_none()
    }

    /// The set in a role.
    pub fn of(&self, role: Role) -> &T {
        match role {
            Role::Candidate => &self.gallery,
            Role::Query => self.queries.as_ref().unwrap_or(&self.gallery),
        }
    }

    /// The set of queries.
    pub fn queries(&self) -> &T {
        self.of(Role::Query)
    }

    /// The gallery item that is the query itself; `None` if queries and gallery are two sets.
    pub fn itself<I>(&self, query: I) -> Option<I> {
        self.is_one().then_some(query)
    }

    /// Borrows the sets.
    pub fn as_ref(&self) -> Sets<&T> {
        Sets { gallery: &self.gallery, queries: self.queries.as_ref() }
    }

    /// Applies `f` to each set.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sets<U> {
        Sets { gallery: f(self.gallery), queries: self.queries.map(f) }
    }

    /// Applies `f`, which may fail, to each set.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Sets<U>, E> {
        Ok(Sets { gallery: f(self.gallery)?, queries: self.queries.map(f).transpose()? })
    }

    /// Iterates over the sets, each once.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.gallery).chain(&self.queries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_in_both_roles_is_one() {
        let (one, two) = (Sets::one(7), Sets { gallery: 7, queries: Some(8) });
        assert_eq!((one.of(Role::Candidate), one.of(Role::Query), one.itself(3)), (&7, &7, Some(3)));
        assert_eq!((two.of(Role::Candidate), two.of(Role::Query), two.itself(3)), (&7, &8, None));
        assert_eq!((one.iter().count(), two.iter().count()), (1, 2));
        assert_eq!(two.map(|set| set + 1), Sets { gallery: 8, queries: Some(9) });
        assert_eq!(Role::Query.other().other(), Role::Query);
    }
}

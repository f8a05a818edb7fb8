//! The two sets of images of a search.

/// What an image is in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An item of the gallery, ranked for queries.
    Candidate,
    /// An image for which the gallery is ranked.
    Query,
}

impl Role {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Candidate => Self::Query,
            Self::Query => Self::Candidate,
        }
    }
}

/// The gallery and the queries of a search: two sets, or one that is both. In one set every query is an item of the gallery, and is
/// left out of its own list by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets<T> {
    /// What is ranked.
    pub gallery: T,
    /// The images that the gallery is ranked for; none where these are the gallery's own.
    pub queries: Option<T>,
}

impl<T> Sets<T> {
    /// One set in both roles.
    pub fn one(gallery: T) -> Self {
        Self { gallery, queries: None }
    }

    /// Whether one set has both roles.
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

    /// The images that ask.
    pub fn queries(&self) -> &T {
        self.of(Role::Query)
    }

    /// The gallery item that a query is, where it is one.
    pub fn itself<I>(&self, query: I) -> Option<I> {
        self.is_one().then_some(query)
    }

    /// Both by reference.
    pub fn as_ref(&self) -> Sets<&T> {
        Sets { gallery: &self.gallery, queries: self.queries.as_ref() }
    }

    /// Something of both.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sets<U> {
        Sets { gallery: f(self.gallery), queries: self.queries.map(f) }
    }

    /// Something of both that may fail.
    ///
    /// # Errors
    /// The first that `f` reports.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Sets<U>, E> {
        Ok(Sets { gallery: f(self.gallery)?, queries: self.queries.map(f).transpose()? })
    }

    /// The sets, each once.
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

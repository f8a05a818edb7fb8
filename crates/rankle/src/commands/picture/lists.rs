//! Ranked lists before and after an attack on one image, by the rank rule of its protocol.

use crate::called;
use anyhow::{Context, Result};
use rankle_attacks::{AttackId, Protocol, RankOf, RankRule, Targets, Ties};
use rankle_core::{Dataset, Embeddings, Gallery, Role, Sets, numbers::numbers};
use rankle_report::picture::{Image, List, Mark, Pair, SHOWN, Slot, grouped, window};

/// Number of positions shown at the top of a list.
const TOP: usize = 5;
/// Number of positions shown at the top after an embedding shift, which has no targets to show.
const TOP_OF_SHIFT: usize = 10;

/// An attacked image with its queries and gallery.
pub(super) struct Scene<'a> {
    pub(super) images: Sets<&'a dyn Dataset>,
    pub(super) sets: Sets<&'a Gallery>,
    pub(super) kind: AttackId,
    /// Role of the attacked image: query or candidate.
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    /// Index of the attacked image in its set.
    pub(super) image: usize,
    /// Targets of this image only.
    pub(super) targets: Targets,
    /// Embedding of the clean image.
    pub(super) clean: Embeddings,
    /// Embedding of the perturbed image.
    pub(super) moved: Embeddings,
    pub(super) perturbed: &'a Image,
}

/// An entry of a list: a gallery item, or the perturbed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Gallery(usize),
    Perturbed,
}

impl Scene<'_> {
    /// The lists in which something moves, each before and after the attack.
    ///
    /// # Errors
    /// An image that cannot be read or shown.
    pub(super) fn pairs(&self) -> Result<Vec<Pair>> {
        match (self.kind, self.role) {
            (AttackId::EmbeddingShift, _) => Ok(vec![self.shifted_list()?]),
            (_, Role::Query) => Ok(vec![self.own_list()?]),
            (_, Role::Candidate) => {
                let queries = distinct(self.targets.indices());
                queries.into_iter().map(|query| self.list_of_query(query)).collect()
            }
        }
    }

    /// The clean image.
    ///
    /// # Errors
    /// An image that cannot be read or shown.
    pub(super) fn clean_image(&self) -> Result<Image> {
        self.image_of(self.role, self.image)
    }

    fn dataset(&self, role: Role) -> &dyn Dataset {
        *self.images.of(role)
    }

    fn rule(&self, ranked: RankOf) -> RankRule {
        RankRule::of(self.protocol, ranked)
    }

    /// Gallery index of the attacked query; `None` if the query is not a gallery image.
    fn itself(&self) -> Option<usize> {
        self.sets.itself(self.image)
    }

    /// The list of one target query of a candidate attack, in which the attacked image moves.
    fn list_of_query(&self, query: usize) -> Result<Pair> {
        let distances = self.sets.gallery.distances_from(self.sets.queries(), &[query])?;
        let strict = self.rule(RankOf::Perturbed).excludes_self;
        let asks = self.sets.itself(query);
        let keep = |item: usize| !(strict && (item == self.image || Some(item) == asks));
        let place = |points: &Embeddings| self.rank_among(query, &distances, points, keep);
        let (rank_before, rank_after) = (place(&self.clean)?, place(&self.moved)?);
        let mut before = in_gallery(ranked(&distances, |item| keep(item) && item != self.image));
        before.insert((rank_before as usize).min(before.len()), Item::Gallery(self.image));
        let mut after = in_gallery(ranked(&distances, keep));
        after.insert((rank_after as usize).min(after.len()), Item::Perturbed);

        let image = self.image;
        let mark_before = |item| match item {
            Item::Gallery(item) if item == image => Mark::Moved(0),
            Item::Gallery(item) if Some(item) == asks => Mark::Itself,
            _ => Mark::None,
        };
        let mark_after = |item| match item {
            Item::Perturbed => Mark::Moved(0),
            Item::Gallery(item) if Some(item) == asks || item == image => Mark::Itself,
            Item::Gallery(_) => Mark::None,
        };
        let [before, after] = self.places([&before, &after], [&mark_before, &mark_after], TOP)?;
        let (query_image, queries) = (self.image_of(Role::Query, query)?, self.dataset(Role::Query));
        let (name, names) = (short_name(queries, "query", query), called::lines(queries, query));
        let list = |places| List { query: query_image.clone(), name: name.clone(), names: names.clone(), places };
        let caption = format!(
            "In the list of query {} (class {}) the image is at {}",
            called::image(queries, query),
            called::class(queries, queries.labels()[query]),
            journey(rank_before, rank_after)
        );
        Ok(Pair { caption, before: list(before), after: list(after) })
    }

    /// Rank of the attacked image in the list of a query, if its embedding is `points`.
    fn rank_among(&self, query: usize, distances: &[f32], points: &Embeddings, keep: impl Fn(usize) -> bool) -> Result<f64> {
        let (gallery, queries) = (self.sets.gallery, *self.sets.queries());
        let own = *queries.distances_to(points, &[query as u32])?.first().context("one distance")?;
        let exact = gallery.distance().exact(queries.point(query), points.to_host()?.row(0));
        let rule = self.rule(RankOf::Perturbed);
        let list = gallery.list(queries.point(query), distances, rule.precision)?;
        let (count, _) = list.count(own, exact, |item| keep(item as usize));
        Ok(rule.rank(count))
    }

    /// Ranks of gallery items in the list of the attacked query, before and after the attack.
    fn ranks(&self, items: &[usize], rule: RankRule) -> Result<[Vec<f64>; 2]> {
        let items: Vec<u32> = items.iter().map(|&item| item as u32).collect();
        let itself = self.itself().filter(|_| rule.excludes_self).map(|item| [item as u32]);
        let of = |points: &Embeddings| {
            let left_out = itself.as_ref().map(|itself| &itself[..]);
            let counted = self.sets.gallery.rank_counts(points, &items, left_out, rule.precision)?;
            anyhow::Ok(counted.counts.iter().map(|&count| rule.rank(count)).collect())
        };
        Ok([of(&self.clean)?, of(&self.moved)?])
    }

    /// The list of the attacked query, in which the targets of a query attack move.
    fn own_list(&self) -> Result<Pair> {
        let targets = distinct(self.targets.indices());
        let preserved = self.targets.preserved().map_or_else(Vec::new, |(preserved, _)| distinct(preserved));
        let mark = |item| {
            let Item::Gallery(item) = item else { return Mark::None };
            let number = |list: &[usize]| list.iter().position(|&one| one == item);
            match (number(&targets), number(&preserved)) {
                (Some(number), _) => Mark::Moved(number),
                (None, Some(number)) => Mark::Preserved(number),
                _ if Some(item) == self.itself() => Mark::Itself,
                _ => Mark::None,
            }
        };
        let rule = self.rule(RankOf::Item);
        // The strict protocol leaves the clean query out of its list, unless it is a target.
        let left_out = self.itself().filter(|itself| rule.excludes_self && !targets.contains(itself));
        let (before, after) = self.own_places(|item| Some(item) != left_out, mark, TOP)?;
        let [ranks_before, ranks_after] = self.ranks(&targets, rule)?;
        let ranks = ranks_before.into_iter().zip(ranks_after);
        let journeys: Vec<String> = (targets.iter().zip(ranks).take(3))
            .map(|(&target, (before, after))| {
                format!("{} at {}", called::image(self.dataset(Role::Candidate), target), journey(before, after))
            })
            .collect();
        let more = if targets.len() > journeys.len() { "; and so on" } else { "" };
        Ok(Pair { caption: format!("In the list of the image: {}{more}", journeys.join("; ")), before, after })
    }

    /// The list of a query whose embedding is shifted, without the query itself. The images of its class are marked.
    fn shifted_list(&self) -> Result<Pair> {
        let (items, own) = (self.dataset(Role::Candidate), self.dataset(Role::Query).labels()[self.image]);
        let labels = items.labels();
        let distances = self.sets.gallery.distances(&self.clean)?;
        let class = |&item: &usize| labels[item] == own;
        let keep = |item: usize| Some(item) != self.itself();
        let nearest = ranked(&distances, keep).into_iter().find(class);
        let mark = |item| match item {
            Item::Gallery(item) if Some(item) == nearest => Mark::Moved(0),
            Item::Gallery(item) if class(&item) => Mark::SameClass,
            _ => Mark::None,
        };
        let (before, after) = self.own_places(keep, mark, TOP_OF_SHIFT)?;
        let caption = match nearest {
            Some(item) => {
                let rule = RankRule { ties: Ties::Average, excludes_self: true, ..self.rule(RankOf::Item) };
                let [ranks_before, ranks_after] = self.ranks(&[item], rule)?;
                let journey = journey(ranks_before[0], ranks_after[0]);
                let item = called::image(items, item);
                format!("In the list of the image: the nearest of its class, {item}, at {journey}")
            }
            None => format!("no other image is of class {}", called::class(self.dataset(Role::Query), own)),
        };
        Ok(Pair { caption, before, after })
    }

    fn own_places(&self, keep: impl Fn(usize) -> bool, mark: impl Fn(Item) -> Mark, top: usize) -> Result<(List, List)> {
        let items = |points: &Embeddings| anyhow::Ok(in_gallery(ranked(&self.sets.gallery.distances(points)?, &keep)));
        let (before, after) = (items(&self.clean)?, items(&self.moved)?);
        let [before, after] = self.places([&before, &after], [&mark, &mark], top)?;
        let own = self.dataset(self.role);
        let names = called::lines(own, self.image);
        let name = short_name(own, "image", self.image);
        let before = List { query: self.clean_image()?, name, names: names.clone(), places: before };
        let after = List { query: self.perturbed.clone(), name: "perturbed".to_owned(), names, places: after };
        Ok((before, after))
    }

    /// Positions to draw of a list before and after: its top, and the surroundings of marked items.
    fn places(&self, lists: [&[Item]; 2], marks: [&dyn Fn(Item) -> Mark; 2], top: usize) -> Result<[Vec<Slot>; 2]> {
        let marked = [0, 1].map(|at| -> Vec<usize> {
            let moved = |&place: &usize| matches!(marks[at](lists[at][place]), Mark::Moved(_) | Mark::Preserved(_));
            (0..lists[at].len()).filter(moved).collect()
        });
        let [before, after] = window(lists.map(<[Item]>::len), top, [&marked[0], &marked[1]]);
        let show = |list: &[Item], mark: &dyn Fn(Item) -> Mark, places: Vec<usize>| -> Result<Vec<Slot>> {
            let place = |rank: usize| {
                let (image, role, index) = match list[rank] {
                    Item::Perturbed => (self.perturbed.clone(), self.role, self.image),
                    Item::Gallery(index) => (self.image_of(Role::Candidate, index)?, Role::Candidate, index),
                };
                Ok(Slot { rank, image, names: called::lines(self.dataset(role), index), mark: mark(list[rank]) })
            };
            places.into_iter().map(place).collect()
        };
        Ok([show(lists[0], marks[0], before)?, show(lists[1], marks[1], after)?])
    }

    fn image_of(&self, role: Role, index: usize) -> Result<Image> {
        let dataset = self.dataset(role);
        Ok(Image::new(dataset.shape(), numbers(&dataset.images(&[index])?)?.to_vec())?)
    }
}

/// Caption of an image: the word, and the index if the image has no name.
fn short_name(dataset: &dyn Dataset, what: &str, index: usize) -> String {
    match dataset.image_name(index) {
        Some(_) => what.to_owned(),
        None => format!("{what} #{index}"),
    }
}

/// The first distinct items of a list, at most [`SHOWN`].
fn distinct(items: &[u32]) -> Vec<usize> {
    let mut distinct = Vec::new();
    for item in items.iter().map(|&item| item as usize) {
        if distinct.len() < SHOWN && !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

/// Items in the order in which they are drawn: by distance, then by index. Ranks are counted separately
/// ([`RankCount::rank`](rankle_core::rank::RankCount::rank)).
fn ranked(distances: &[f32], keep: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut items: Vec<usize> = (0..distances.len()).filter(|&item| keep(item)).collect();
    items.sort_unstable_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
    items
}

fn in_gallery(items: Vec<usize>) -> Vec<Item> {
    items.into_iter().map(Item::Gallery).collect()
}

/// Ranks before and after, in words. The middle of an even number of tied items is a rank with a half.
fn journey(before: f64, after: f64) -> String {
    let rank = |rank: f64| format!("{}{}", grouped(rank as usize), if rank.fract() > 0.0 { ".5" } else { "" });
    format!("{} before, {} after", rank(before), rank(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;
    use rankle_attacks::{AttackOptions, Direction, Measures, Pgd, Setting, Threat, build, run};
    use rankle_core::{Distance, Embedder, Seed, toy};

    #[test]
    fn lists_are_drawn_by_distance_and_ranks_told_as_measured() {
        let distances = [0.5, 0.1, 0.5, 0.5, 0.0];
        assert_eq!(ranked(&distances, |_| true), [4, 1, 0, 2, 3]);
        assert_eq!(ranked(&distances, |item| item != 4), [1, 0, 2, 3]);
        assert_eq!(journey(1234.5, 7.0), "1,234.5 before, 7 after");
        assert_eq!(distinct(&[3, 1, 3, 2]), [3, 1, 2]);
        assert_eq!(distinct(&(0..20).collect::<Vec<_>>()).len(), SHOWN);
    }

    /// The positions that are drawn are the ranks that are measured.
    #[test]
    fn what_moves_stands_where_the_standings_say() {
        let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine).unwrap());
        let place = |images: &Tensor| embedder.distance().normalize(&embedder.embed(images).unwrap()).unwrap();
        let everything: Vec<usize> = (0..dataset.len()).collect();
        let gallery = Gallery::new(&place(&dataset.images(&everything).unwrap())).unwrap();
        let kinds = AttackId::ALL.into_iter().filter(|kind| !matches!(kind, AttackId::PreservingQuery(Direction::Lower)));
        for (kind, protocol) in kinds.flat_map(|kind| Protocol::ALL.map(|protocol| (kind, protocol))) {
            let scene = rankle_attacks::Scene { sets: Sets::one(&gallery), protocol, seed: Seed(3) };
            let setting = Setting {
                embedder: &embedder,
                scene,
                images: Sets::one(&dataset),
                batch_size: 8,
                eight_bit: false,
                keep_images: true,
            };
            let (attack, images) = (build(kind, 1, AttackOptions::default()), [5, 11, 2]);
            let targets = attack.choose(&images, &setting.scene).unwrap();
            let solver = Pgd::paper(Threat::linf(0.2).unwrap());
            let outcome = run(&*attack, &solver, &setting, &images, &targets).unwrap();
            let adversarial = outcome.adversarial.unwrap();
            let (clean, moved) = (place(&dataset.images(&images).unwrap()), place(&adversarial));
            for (row, image) in images.into_iter().enumerate() {
                let pixels = adversarial.get(row).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let scene = Scene {
                    images: Sets::one(&dataset),
                    sets: Sets::one(&gallery),
                    kind,
                    role: attack.perturbs(),
                    protocol,
                    image,
                    targets: targets.of_images(row..row + 1),
                    clean: clean.select(&[row]).unwrap(),
                    moved: moved.select(&[row]).unwrap(),
                    perturbed: &Image::new(dataset.shape(), pixels).unwrap(),
                };
                let pair = scene.pairs().unwrap().swap_remove(0);
                let rank = |list: &List| list.places.iter().find(|place| place.mark == Mark::Moved(0)).unwrap().rank as f64;
                let measured = |measures: &Measures| match kind {
                    AttackId::EmbeddingShift => measures.first_match[row].unwrap().position(),
                    _ => measures.rank[row] * gallery.len() as f64,
                };
                assert!((rank(&pair.before) - measured(&outcome.before)).abs() < 1e-9, "{kind} {protocol} {image} before");
                // After a shift another image of the class may be the first match.
                let after = rank(&pair.after) - measured(&outcome.after);
                assert!(after.abs() < 1e-9 || kind == AttackId::EmbeddingShift && after > 0.0, "{kind} {protocol} {image} after");
            }
        }
    }
}

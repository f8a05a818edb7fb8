//! Draws of the targets of plus attacks.

use crate::draw::{distinct, neighbors};
use crate::scene::Choice;
use crate::{Protocol, TargetPool};
use rand::Rng;
use rankle_core::Result;
use rankle_core::seed::Purpose;

/// Draws the targets of a plus attack: `set` for each image, with replacement under [`Protocol::Paper`], distinct and never the
/// image under [`Protocol::Strict`]. `purpose` names family and direction.
///
/// # Source
/// METHOD.md 7.1; the bounds of the local pool are integers, so that no rounding moves them.
pub(crate) fn draw(
    pool: TargetPool,
    purpose: Purpose,
    set: usize,
    images: &[usize],
    choice: Choice<'_>,
) -> Result<Vec<Vec<u32>>> {
    let (len, protocol) = (choice.targets.len(), choice.protocol);
    let rng = |image: usize| choice.seed.stream(purpose, [image as u64, 0]);
    match pool {
        TargetPool::Global => anywhere(set, images, choice, rng),
        TargetPool::Local => {
            let (first, end) = (len / 100, len / 20);
            let available = match protocol {
                Protocol::Paper if first < end => len,
                _ => end - first,
            };
            Choice::check_set(set, available)?;
            neighbors(choice, images, end, |image, list| {
                let (mut rng, band) = (rng(image), &list[first..]);
                match protocol {
                    Protocol::Paper => (0..set).map(|_| band[rng.random_range(0..band.len() as u32) as usize]).collect(),
                    Protocol::Strict => distinct(&mut rng, band.len(), set).into_iter().map(|at| band[at as usize]).collect(),
                }
            })
        }
    }
}

fn anywhere<R: Rng>(set: usize, images: &[usize], choice: Choice<'_>, rng: impl Fn(usize) -> R) -> Result<Vec<Vec<u32>>> {
    let (len, protocol) = (choice.targets.len(), choice.protocol);
    let available = match protocol {
        Protocol::Paper => len,
        Protocol::Strict => choice.available(),
    };
    Choice::check_set(set, available)?;
    let draw = |&image: &usize| {
        let mut rng = rng(image);
        match protocol {
            Protocol::Paper => (0..set).map(|_| rng.random_range(0..len as u32)).collect(),
            // Numbers from the image's index on stand for the items behind it, so the image itself is never drawn.
            Protocol::Strict => {
                let skip = |number| number + u32::from(choice.itself(image).is_some_and(|image| number as usize >= image));
                distinct(&mut rng, available, set).into_iter().map(skip).collect()
            }
        }
    };
    Ok(images.iter().map(draw).collect())
}

//! Einstein summation over one or two tensors.

use super::products::product;
use super::{Build, Inputs, Operator, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};
use std::collections::BTreeMap;

/// Without ellipses, and without a letter twice in one tensor.
pub(crate) fn einsum(build: &Build<'_>) -> Result<Operator> {
    let Some(equation) = build.node.text("equation")? else { bail!("its equation is missing") };
    let equation = equation.replace(' ', "");
    let Some((left, output)) = equation.split_once("->") else { bail!("equation '{equation}' without an arrow") };
    let mut operands = left.split(',').map(letters).collect::<Result<Vec<_>>>()?;
    let output = letters(output)?;
    if output.iter().any(|letter| !operands.iter().any(|operand| operand.contains(letter))) {
        bail!("equation '{equation}', whose result has a letter of its own")
    }
    match (operands.pop(), operands.pop(), operands.is_empty()) {
        (Some(only), None, true) => one(move |inputs| {
            let x = labelled(inputs.floats(0)?, &only)?;
            x.summed(|letter| output.contains(&letter))?.ordered(&output)
        }),
        (Some(second), Some(first), true) => {
            one(move |inputs| pair(inputs, labelled(inputs.floats(0)?, &first)?, labelled(inputs.floats(1)?, &second)?, &output))
        }
        _ => bail!("equation '{equation}' of more than two tensors"),
    }
}

fn letters(text: &str) -> Result<Vec<char>> {
    let letters = text.chars().collect::<Vec<_>>();
    let twice = letters.iter().enumerate().any(|(at, letter)| letters[..at].contains(letter));
    if twice || !letters.iter().all(char::is_ascii_alphabetic) {
        bail!("'{text}' in its equation, where different letters are needed")
    }
    Ok(letters)
}

/// A tensor with a letter for each dimension.
struct Labelled<'l> {
    tensor: Tensor,
    letters: std::borrow::Cow<'l, [char]>,
}

fn labelled<'l>(tensor: &Tensor, letters: &'l [char]) -> Result<Labelled<'l>> {
    if tensor.rank() != letters.len() {
        bail!("shape {:?} for '{}'", tensor.shape(), letters.iter().collect::<String>())
    }
    Ok(Labelled { tensor: tensor.clone(), letters: letters.into() })
}

impl Labelled<'_> {
    /// Sums over all dimensions but those to keep.
    fn summed(self, keep: impl Fn(char) -> bool) -> Result<Self> {
        let (kept, gone): (Vec<char>, Vec<char>) = self.letters.iter().partition(|&&letter| keep(letter));
        if gone.is_empty() {
            return Ok(self);
        }
        let sizes = self.sizes();
        let dims = kept.iter().map(|letter| sizes[letter]).collect::<Vec<_>>();
        let ordered = self.ordered(&[kept.as_slice(), gone.as_slice()].concat())?;
        let rows = dims.iter().product::<usize>();
        let len = gone.iter().map(|letter| sizes[letter]).product::<usize>();
        let tensor = d::reshape(&d::sum_last(&d::reshape(&ordered, &[rows, len])?)?, &dims)?;
        Ok(Self { tensor, letters: kept.into() })
    }

    fn ordered(&self, letters: &[char]) -> Result<Tensor> {
        let place = |letter: &char| self.letters.iter().position(|other| other == letter);
        match letters.iter().map(place).collect::<Option<Vec<_>>>() {
            Some(order) => d::permute(&self.tensor, &order),
            None => bail!("letters {letters:?} of {:?}", self.letters),
        }
    }

    fn sizes(&self) -> BTreeMap<char, usize> {
        self.letters.iter().copied().zip(self.tensor.dims().iter().copied()).collect()
    }
}

/// One product of matrices: letters of both and of the result are its batch, letters of both alone are summed over.
fn pair(inputs: &Inputs<'_>, a: Labelled<'_>, b: Labelled<'_>, output: &[char]) -> Result<Tensor> {
    let (in_a, in_b) = (a.letters.to_vec(), b.letters.to_vec());
    let a = a.summed(|letter| output.contains(&letter) || in_b.contains(&letter))?;
    let b = b.summed(|letter| output.contains(&letter) || in_a.contains(&letter))?;
    let mut sizes = a.sizes();
    for (letter, size) in b.sizes() {
        if sizes.insert(letter, size).is_some_and(|other| other != size) {
            bail!("shapes {:?} and {:?}, different along '{letter}'", a.tensor.shape(), b.tensor.shape())
        }
    }
    let pick = |from: &[char], keep: &dyn Fn(&char) -> bool| from.iter().copied().filter(keep).collect::<Vec<_>>();
    let both = pick(&a.letters, &|letter| b.letters.contains(letter));
    let (batch, inner): (Vec<char>, Vec<char>) = both.iter().partition(|letter| output.contains(letter));
    let rows = pick(&a.letters, &|letter| !b.letters.contains(letter));
    let columns = pick(&b.letters, &|letter| !a.letters.contains(letter));
    let count = |letters: &[char]| letters.iter().map(|letter| sizes[letter]).product::<usize>();
    let (n, m, k, c) = (count(&batch), count(&rows), count(&inner), count(&columns));
    let left = d::reshape(&a.ordered(&[batch.as_slice(), &rows, &inner].concat())?, &[n, m, k])?;
    let right = d::reshape(&b.ordered(&[batch.as_slice(), &inner, &columns].concat())?, &[n, k, c])?;
    let letters = [batch, rows, columns].concat();
    let dims = letters.iter().map(|letter| sizes[letter]).collect::<Vec<_>>();
    let tensor = d::reshape(&product(inputs, &left, &right)?, &dims)?;
    Labelled { tensor, letters: letters.into() }.ordered(output)
}

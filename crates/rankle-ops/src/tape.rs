//! A tape for the operations of this crate, walked without the zeros and additions of candle's.

use crate::attach::Backward;
use candle_core::{Result, Tensor, TensorId, bail};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

thread_local! {
    /// What the recording of this thread has seen so far; `None` while nothing is recorded.
    static NODES: RefCell<Option<Vec<Node>>> = const { RefCell::new(None) };
}

/// An operation of this crate that was recorded.
pub(crate) struct Node {
    pub(crate) inputs: Vec<Tensor>,
    /// A variable, where candle's tape ends, or by [`record`] the result of candle's operations.
    pub(crate) output: Tensor,
    pub(crate) rule: Rule,
}

/// From the gradient of an output to those of the inputs.
pub(crate) enum Rule {
    Operation(Box<Backward>),
    /// Of one input; it takes gradients in any layout.
    View(Box<View>),
    /// The output is a part of the one input.
    Part {
        axis: usize,
        start: usize,
    },
}

type View = dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync;

/// True while the operations of this thread are recorded.
pub(crate) fn is_recording() -> bool {
    NODES.with_borrow(Option::is_some)
}

/// Adds an operation to the recording of this thread.
pub(crate) fn push(node: Node) {
    NODES.with_borrow_mut(|nodes| {
        if let Some(nodes) = nodes {
            nodes.push(node);
        }
    });
}

/// Gives the result of candle's operations a backward function of its own, for [`Recorded`]: cheaper than candle's, or right where
/// candle's is not. Nothing is copied. `output` was computed from `inputs` by operations of candle on its tape, which differentiates
/// it as ever where nothing is recorded.
///
/// `backward` gets the gradient of the output, contiguous and off the tape, and for each input whether its gradient is needed. It
/// returns the gradients of the needed inputs, each in the shape and type of its input.
///
/// ```
/// use candle_core::{Device, Result, Tensor, Var};
/// use rankle_ops::{Recorded, record};
///
/// /// The transposed matrix. candle would add its gradient to zeros.
/// fn transpose(x: &Tensor) -> Result<Tensor> {
///     Ok(record(&[x], x.t()?, |gradient, _| Ok(vec![Some(gradient.t()?)])))
/// }
///
/// let x = Var::new(&[[1f32, 2.0, 3.0]], &Device::Cpu)?;
/// let recorded = Recorded::new(|| transpose(&x)?.sqr())?;
/// let upstream = recorded.output().ones_like()?;
/// let gradients = recorded.gradients(&upstream, &[&x])?;
/// assert_eq!(gradients[0].as_ref().unwrap().to_vec2::<f32>()?, [[2.0, 4.0, 6.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn record(
    inputs: &[&Tensor],
    output: Tensor,
    backward: impl Fn(&Tensor, &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Tensor {
    record_rule(inputs, output, || Rule::Operation(Box::new(move |_, gradient, needed| backward(gradient, needed))))
}

/// As [`record`], for one input and a `backward` that takes gradients in any layout and returns the gradient of the input, in its shape
/// and type and in any layout: a chain of permutations copies nothing on its way back.
pub fn record_view(
    input: &Tensor,
    output: Tensor,
    backward: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Tensor {
    record_rule(&[input], output, || Rule::View(Box::new(backward)))
}

/// The `len` entries of `x` from `start` on along an axis: `(.., d, ..)` gives a view `(.., len, ..)`. Recorded, the gradients of the
/// parts of a tensor are put side by side, where candle adds tensors of its whole size.
///
/// # Errors
/// A part that is not in `x`.
pub fn narrow(x: &Tensor, axis: usize, start: usize, len: usize) -> Result<Tensor> {
    Ok(record_rule(&[x], x.narrow(axis, start, len)?, || Rule::Part { axis, start }))
}

fn record_rule(inputs: &[&Tensor], output: Tensor, rule: impl FnOnce() -> Rule) -> Tensor {
    // Some operations of candle that change nothing return the input itself.
    let is_new = inputs.iter().all(|input| input.id() != output.id());
    if is_new && output.track_op() && is_recording() {
        push(Node { inputs: inputs.iter().copied().cloned().collect(), output: output.clone(), rule: rule() });
    }
    output
}

/// The sum of two tensors of one shape, as of a residual connection: recorded, it gives its gradient on as it is.
///
/// # Errors
/// Tensors of different shapes or types.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(record(&[a, b], (a + b)?, |gradient, needed| Ok(needed.iter().map(|needed| needed.then(|| gradient.clone())).collect())))
}

/// A forward pass that was recorded, for its gradients.
///
/// They are the gradients of candle's [`Tensor::backward`], which begins each gradient as zeros and adds to it; here a gradient with
/// one source is that source. Operations of candle may stand between those of this crate.
///
/// ```
/// use candle_core::{Device, Result, Tensor, Var};
/// use rankle_ops::{Recorded, relu};
///
/// let x = Var::new(&[-1f32, 2.0], &Device::Cpu)?;
/// let recorded = Recorded::new(|| (relu(&x)? * 3.0)?.sqr())?;
/// let upstream = recorded.output().ones_like()?;
/// let gradients = recorded.gradients(&upstream, &[&x])?;
/// assert_eq!(gradients[0].as_ref().unwrap().to_vec1::<f32>()?, [0.0, 36.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct Recorded {
    nodes: Vec<Node>,
    output: Tensor,
}

/// What was recorded outside of a recording, which goes on after it.
struct Outside(Option<Vec<Node>>);

impl Drop for Outside {
    fn drop(&mut self) {
        NODES.set(self.0.take());
    }
}

impl Recorded {
    /// Records the operations of this thread during `forward`, which returns the output. What `forward` gives to other threads is not
    /// recorded; what a thread pool has this thread do meanwhile must be recorded on its own, as the models of `rankle_models` are.
    ///
    /// # Errors
    /// Those of `forward`.
    pub fn new(forward: impl FnOnce() -> Result<Tensor>) -> Result<Self> {
        let _outside = Outside(NODES.replace(Some(Vec::new())));
        let output = forward()?;
        Ok(Self { nodes: NODES.take().unwrap_or_default(), output })
    }

    /// The output, off the tape.
    pub fn output(&self) -> Tensor {
        self.output.detach()
    }

    /// Bytes of the recorded results, which stay in memory; what some operations keep beside them, as the shares of attention, is not
    /// counted.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.output.elem_count() * node.output.dtype().size_in_bytes()).sum()
    }

    /// For each of the variables `of` the gradient of the sum of the output times `upstream`, which has its shape; `None` for a
    /// variable on which the output does not depend.
    ///
    /// # Errors
    /// Another shape of `upstream`, and the errors of the backward functions.
    pub fn gradients(self, upstream: &Tensor, of: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
        if upstream.shape() != self.output.shape() {
            bail!("an upstream gradient of shape {:?} for an output of shape {:?}", upstream.shape(), self.output.shape())
        }
        let recorded = self.nodes.iter().map(|node| node.output.id()).collect();
        let mut gradients = Gradients { recorded, sums: HashMap::new(), parts: HashMap::new() };
        gradients.give(&self.output, upstream.detach())?;
        for Node { inputs, output, rule } in self.nodes.into_iter().rev() {
            let Some(gradient) = gradients.take(&output)? else { continue };
            let backward = match rule {
                Rule::Operation(backward) => backward,
                Rule::View(backward) => {
                    gradients.give(&inputs[0], backward(&gradient)?)?;
                    continue;
                }
                Rule::Part { axis, start } => {
                    gradients.give_part(&inputs[0], Part { axis, start, gradient })?;
                    continue;
                }
            };
            let needed: Vec<bool> = inputs.iter().map(Tensor::track_op).collect();
            let results = backward(&output.detach(), &gradient.contiguous()?, &needed)?;
            for ((input, gradient), _) in inputs.iter().zip(results).zip(needed).filter(|(_, needed)| *needed) {
                match gradient {
                    Some(gradient) => gradients.give(input, gradient)?,
                    None => bail!("no gradient for an input of shape {:?}, which is on the tape", input.shape()),
                }
            }
        }
        of.iter().map(|variable| gradients.take(variable)).collect()
    }
}

/// Gradients of variables, and of the other results that were recorded.
struct Gradients {
    recorded: HashSet<TensorId>,
    sums: HashMap<TensorId, Tensor>,
    /// What [`narrow`] gave, until it is needed.
    parts: HashMap<TensorId, Vec<Part>>,
}

impl Gradients {
    /// The whole gradient of a tensor, once.
    fn take(&mut self, of: &Tensor) -> Result<Option<Tensor>> {
        if let Some(parts) = self.parts.remove(&of.id()) {
            self.add(of.id(), joined(parts, of)?)?;
        }
        Ok(self.sums.remove(&of.id()))
    }

    fn is_kept(&self, tensor: &Tensor) -> bool {
        tensor.is_variable() || self.recorded.contains(&tensor.id())
    }

    fn give_part(&mut self, tensor: &Tensor, part: Part) -> Result<()> {
        if self.is_kept(tensor) {
            self.parts.entry(tensor.id()).or_default().push(part);
            return Ok(());
        }
        self.give(tensor, joined(vec![part], tensor)?)
    }

    fn give(&mut self, tensor: &Tensor, gradient: Tensor) -> Result<()> {
        if self.is_kept(tensor) {
            return self.add(tensor.id(), gradient);
        }
        if !tensor.track_op() {
            return Ok(());
        }
        // Operations of candle, down to the next variables.
        let beyond = (tensor * gradient)?.sum_all()?.backward()?;
        let ids: Vec<TensorId> = beyond.get_ids().copied().collect();
        ids.into_iter().try_for_each(|id| beyond.get_id(id).map_or(Ok(()), |gradient| self.add(id, gradient.clone())))
    }

    fn add(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        // candle's gradients depend on the variables that they were computed from.
        let gradient = gradient.detach();
        let sum = match self.sums.remove(&id) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        self.sums.insert(id, sum);
        Ok(())
    }
}

/// The gradient of some of the entries of a tensor along an axis.
struct Part {
    axis: usize,
    start: usize,
    gradient: Tensor,
}

/// A gradient of the shape of `of` from those of its parts: 0 where there is none, the sum where there are several.
fn joined(mut parts: Vec<Part>, of: &Tensor) -> Result<Tensor> {
    parts.sort_by_key(|part| (part.axis, part.start));
    // Neighbors are pieces of one tensor until one begins along another axis or inside of the one before.
    let mut sum: Option<Tensor> = None;
    let mut rest = parts.into_iter().peekable();
    while let Some(first) = rest.next() {
        let (axis, whole) = (first.axis, of.dim(first.axis)?);
        let (mut pieces, mut end) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Part { start, gradient, .. }) = next {
            pieces.extend((start > end).then(|| zeros(of, axis, start - end)).transpose()?);
            end = start + gradient.dim(axis)?;
            pieces.push(gradient.detach());
            next = rest.next_if(|part| part.axis == axis && part.start >= end);
        }
        pieces.extend((whole > end).then(|| zeros(of, axis, whole - end)).transpose()?);
        let joined = if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(&pieces, axis)? };
        sum = Some(match sum {
            Some(sum) => (sum + joined)?,
            None => joined,
        });
    }
    sum.map_or_else(|| of.zeros_like(), Ok)
}

/// As `like`, but `len` entries along an axis, all 0.
fn zeros(like: &Tensor, axis: usize, len: usize) -> Result<Tensor> {
    let mut dims = like.dims().to_vec();
    dims[axis] = len;
    Tensor::zeros(dims, like.dtype(), like.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linear, relu, softmax};
    use candle_core::{Device, Var};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn numbers(stream: f64, shape: &[usize]) -> Tensor {
        let len = shape.iter().product::<usize>() as f64;
        let numbers = Tensor::arange(0.0, len, &Device::Cpu).unwrap();
        ((numbers * 0.7).unwrap() + stream).unwrap().sin().unwrap().reshape(shape).unwrap()
    }

    /// Operations of both kinds, used twice, one after the other and beside each other, with a view at the end.
    fn network(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let y = relu(&linear(&(x * 2.0)?, weight, None)?)?;
        let z = (&y + softmax(&y.transpose(0, 1)?.contiguous()?)?.transpose(0, 1)?)?;
        let w = linear(&z, weight, None)?;
        ((w * &y)? + x)?.transpose(0, 1)
    }

    #[test]
    fn gradients_are_those_of_candle() {
        let (x, weight) = (Var::from_tensor(&numbers(0.1, &[5, 5])).unwrap(), Var::from_tensor(&numbers(0.4, &[5, 5])).unwrap());
        let unused = Var::from_tensor(&numbers(0.2, &[2])).unwrap();
        let upstream = numbers(0.9, &[5, 5]);
        let output = network(&x, &weight).unwrap();
        let expected = (&output * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
        let recorded = Recorded::new(|| network(&x, &weight)).unwrap();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(values(&recorded.output()), values(&output));
        let gradients = recorded.gradients(&upstream, &[&x, &unused, &weight]).unwrap();
        assert!(gradients[1].is_none());
        for (variable, gradient) in [(&x, &gradients[0]), (&weight, &gradients[2])] {
            let (ours, candle) = (values(gradient.as_ref().unwrap()), values(expected.get(variable).unwrap()));
            let apart = ours.iter().zip(&candle).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-11, "{apart:e}");
        }
        // Frozen weights have none; the input alone may be one of candle's own operations, or the output itself.
        let frozen = Recorded::new(|| network(&x, weight.as_tensor())).unwrap().gradients(&upstream, &[&x]).unwrap();
        assert!(frozen[0].is_some());
        let same = Recorded::new(|| Ok(x.as_tensor().clone())).unwrap().gradients(&upstream, &[&x]).unwrap();
        assert_eq!(values(same[0].as_ref().unwrap()), values(&upstream));
    }

    /// A view and a sum that are recorded, between candle's own operations and those of this crate.
    fn recorded_network(x: &Tensor, count: &'static AtomicUsize) -> Result<Tensor> {
        let y = record(&[x], x.t()?, move |gradient, _| {
            count.fetch_add(1, Relaxed);
            Ok(vec![Some(gradient.t()?)])
        });
        let z = (relu(&y)? + y.sqr()?)?;
        add(&z, &y)
    }

    #[test]
    fn recorded_results_of_candle_have_their_backward_function() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let x = Var::from_tensor(&numbers(0.1, &[4, 3])).unwrap();
        let upstream = numbers(0.9, &[3, 4]);
        let output = recorded_network(&x, &COUNT).unwrap();
        let expected = (&output * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(COUNT.load(Relaxed), 0);
        let recorded = Recorded::new(|| recorded_network(&x, &COUNT)).unwrap();
        let gradient = recorded.gradients(&upstream, &[&x]).unwrap().remove(0).unwrap();
        assert_eq!(COUNT.load(Relaxed), 1);
        assert!(apart([gradient, expected.get(&x).unwrap().clone()]) < 1e-14);
        // Off the tape nothing is recorded.
        let frozen = Recorded::new(|| recorded_network(&x.as_detached_tensor(), &COUNT)).unwrap();
        assert!(frozen.nodes.is_empty());
    }

    /// The largest difference.
    fn apart([a, b]: [Tensor; 2]) -> f64 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    /// Gradients by a recording, and by candle's tape.
    fn both(network: impl Fn(&Tensor) -> Result<Tensor>, x: &Var) -> [Tensor; 2] {
        let output = network(x).unwrap();
        let upstream = numbers(0.9, output.dims());
        let expected = (output * &upstream).unwrap().sum_all().unwrap().backward().unwrap().get(x).unwrap().clone();
        let recorded = Recorded::new(|| network(x)).unwrap().gradients(&upstream, &[x]).unwrap().remove(0).unwrap();
        [recorded, expected]
    }

    #[test]
    fn gradients_of_parts_are_put_side_by_side() {
        let x = Var::from_tensor(&numbers(0.1, &[3, 6, 4])).unwrap();
        type Parts = &'static [(usize, usize, usize)];
        let cases: [(&str, Parts); 6] = [
            ("all of it", &[(1, 4, 2), (1, 0, 3), (1, 3, 1)]),
            ("gaps", &[(1, 1, 2), (1, 4, 1)]),
            ("overlapping ones", &[(1, 0, 4), (1, 2, 3), (1, 0, 4), (1, 5, 1)]),
            ("two axes", &[(0, 1, 1), (2, 0, 3), (0, 0, 1)]),
            ("one", &[(2, 3, 1)]),
            ("the whole", &[(0, 0, 3)]),
        ];
        for (name, parts) in cases {
            // Of a variable, of a recorded result, and of the result of an operation of candle.
            for before in [|x: &Tensor| Ok(x.clone()), relu, Tensor::sqr] {
                let network = |x: &Tensor| {
                    let x = before(x)?;
                    let part = |(at, &(axis, start, len)): (usize, &(usize, usize, usize))| {
                        let part = softmax(&narrow(&x, axis, start, len)?)?;
                        (part.mul(&numbers(at as f64, part.dims()))?.sum_all()?
                            + relu(&narrow(&x, axis, start, len)?)?.sum_all()?)?
                            * 3.0
                    };
                    Tensor::stack(&parts.iter().enumerate().map(part).collect::<Result<Vec<_>>>()?, 0)
                };
                assert!(apart(both(network, &x)) < 1e-14, "{name}");
            }
        }
        // A part of a part.
        assert!(apart(both(|x| relu(&narrow(&narrow(x, 1, 1, 4)?, 1, 2, 1)?), &x)) < 1e-14);
        assert!(narrow(&x, 1, 5, 2).is_err());
    }

    /// A result that is the input itself, by operations of candle that change nothing.
    #[test]
    fn nothing_is_recorded_where_nothing_changes() {
        let x = Var::from_tensor(&numbers(0.1, &[3, 4])).unwrap();
        assert!(apart(both(|x| relu(&narrow(&x.sqr()?, 0, 0, 3)?), &x)) < 1e-14);
        let same = |x: &Tensor| {
            let y = x.sqr()?;
            relu(&record_view(&y, y.transpose(0, 0)?, |gradient| gradient.transpose(0, 0)))
        };
        assert!(apart(both(same, &x)) < 1e-14);
    }

    #[test]
    fn views_take_gradients_as_they_are() {
        let x = Var::from_tensor(&numbers(0.1, &[2, 3, 4])).unwrap();
        let network = |x: &Tensor| {
            let y = record_view(x, x.transpose(0, 2)?, |gradient| {
                assert!(!gradient.is_contiguous());
                gradient.transpose(0, 2)
            });
            Ok(record_view(&y, y.transpose(1, 2)?, |gradient| gradient.transpose(1, 2)))
        };
        assert!(apart(both(network, &x)) < 1e-14);
    }

    #[test]
    fn a_recording_ends_with_its_forward_pass() {
        let x = Var::from_tensor(&numbers(0.1, &[3])).unwrap();
        assert!(Recorded::new(|| relu(&Tensor::new(&[1u32], &Device::Cpu)?)).is_err() && !is_recording());
        assert!(
            std::panic::catch_unwind(|| Recorded::new(|| panic!("a network of another program"))).is_err() && !is_recording()
        );
        let outer = Recorded::new(|| {
            let y = relu(&x)?;
            let inner = Recorded::new(|| relu(&x))?.gradients(&x, &[&x])?;
            assert!(inner[0].is_some() && is_recording());
            relu(&(y * 3.0)?)
        });
        let outer = outer.unwrap();
        assert!(!is_recording() && outer.nodes.len() == 2);
        let message = outer.gradients(&numbers(0.0, &[2]), &[&x]).unwrap_err().to_string();
        assert!(message.starts_with("an upstream gradient of shape [2] for an output of shape [3]"), "{message}");
    }
}

//! Results that join the tape with a backward function of their own.

use crate::common::{close, numbers, refused, values};
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use rankle_ops::attach;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn var(seed: u64, shape: impl Into<candle_core::Shape>) -> Var {
    Var::from_tensor(&numbers(seed, shape)).unwrap()
}

/// Joins `output` to the tape of `x`; the gradient of `x` is ten times that of the output, whatever the shapes.
fn tenfold(x: &Tensor, output: Tensor) -> Result<Tensor> {
    let shape = x.shape().clone();
    attach([x], output, move |gradient, _| Ok([Some((gradient * 10.0)?.reshape(&shape)?)]))
}

#[test]
fn one_two_and_three_inputs_get_their_own_gradients() {
    let (a, b, c) = (var(1, 3), var(2, 3), var(3, 3));
    let output = numbers(4, 3);
    let times = |gradient: &Tensor, factor: f64| (gradient * factor).map(Some);

    let one = attach([&a], output.clone(), move |g, _| Ok([times(g, 2.0)?])).unwrap();
    let two = attach([&a, &b], output.clone(), move |g, _| Ok([times(g, 3.0)?, times(g, 5.0)?])).unwrap();
    let three = attach([&a, &b, &c], output.clone(), move |g, _| Ok([times(g, 7.0)?, times(g, 11.0)?, times(g, 13.0)?])).unwrap();
    for attached in [&one, &two, &three] {
        assert_eq!(values(attached), values(&output));
    }

    let gradients = (one + two).and_then(|sum| (sum + three)?.sum_all()?.backward()).unwrap();
    for (input, expected) in [(&a, 2.0 + 3.0 + 7.0), (&b, 5.0 + 11.0), (&c, 13.0)] {
        assert_eq!(values(gradients.get(input).unwrap()), [expected; 3]);
    }
}

#[test]
fn a_tensor_given_twice_gets_both_gradients() {
    let x = var(1, 4);
    let output = attach([&x, &x], numbers(2, 4), |g, _| Ok([Some(g.clone()), Some((g * 4.0)?)])).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert_eq!(values(gradients.get(&x).unwrap()), [5.0; 4]);
}

#[test]
fn views_are_attached_as_what_they_show() {
    let whole = numbers(5, (4, 6));
    #[rustfmt::skip] // a view a line
    let views = [
        ("rows after the first", whole.narrow(0, 1, 2)),
        ("rows before the last", whole.narrow(0, 0, 3)),
        ("columns", whole.narrow(1, 2, 3)),
        ("transposed", whole.t()),
        ("transposed, after the first", whole.t().and_then(|view| view.narrow(0, 1, 3))),
        ("one row for all", whole.narrow(0, 2, 1).and_then(|view| view.broadcast_as((4, 6)))),
        ("one number", whole.narrow(0, 3, 1).and_then(|view| view.narrow(1, 5, 1)?.reshape(()))),
    ];
    for (name, view) in views {
        let view = view.unwrap();
        let expected = view.force_contiguous().unwrap();
        let x = var(6, view.shape());
        let attached = tenfold(&x, view).unwrap();
        assert_eq!(attached.shape(), expected.shape(), "{name}");
        assert_eq!(values(&attached), values(&expected), "{name}");
        // The square reads what was attached.
        let gradients = attached.sqr().and_then(|square| square.sum_all()?.backward()).unwrap();
        close(gradients.get(&x).unwrap(), &(expected * 20.0).unwrap(), 1e-15);
    }
}

#[test]
fn an_output_that_shows_its_own_input_is_attached() {
    let x = var(7, (3, 4));
    let output = tenfold(&x.narrow(0, 1, 2).unwrap(), x.narrow(0, 1, 2).unwrap()).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert_eq!(values(gradients.get(&x).unwrap()), [[0.0; 4], [10.0; 4], [10.0; 4]].concat());
}

#[test]
fn off_the_tape_the_output_comes_back_and_nothing_is_kept() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let x = numbers(1, 3);
    let output = attach([&x], numbers(2, 3), move |gradient, _| {
        let _held = &inside;
        Ok([Some(gradient.clone())])
    });
    assert!(!output.unwrap().track_op());
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn an_output_on_the_tape_is_taken_off_it() {
    let (x, other) = (var(1, 3), var(2, 3));
    let output = attach([&x], (other.as_tensor() * 2.0).unwrap(), |g, _| Ok([Some(g.clone())])).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&other).is_none());
    let frozen = attach([&numbers(3, 3)], (other.as_tensor() * 2.0).unwrap(), |g, _| Ok([Some(g.clone())])).unwrap();
    assert!(!frozen.track_op());
}

#[test]
fn gradients_are_asked_for_only_where_they_are_needed() {
    for (on_tape, expected) in [([true, false, false], 0b001), ([false, true, false], 0b010), ([true, false, true], 0b101)] {
        let inputs = [1, 2, 3].map(|seed| numbers(seed, 2));
        let inputs: Vec<Tensor> = (inputs.iter().zip(on_tape))
            .map(|(input, on_tape)| if on_tape { Var::from_tensor(input).unwrap().into_inner() } else { input.clone() })
            .collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&asked);
        let output = attach([&inputs[0], &inputs[1], &inputs[2]], numbers(4, 2), move |gradient, needed| {
            seen.store(needed.iter().rev().fold(0, |bits, &needed| (bits << 1) | usize::from(needed)), Ordering::Relaxed);
            Ok(needed.map(|needed| needed.then(|| gradient.clone())))
        });
        let gradients = output.and_then(|output| output.sum_all()?.backward()).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), expected);
        assert_eq!(inputs.iter().map(|input| gradients.get(input).is_some()).collect::<Vec<_>>(), on_tape);
    }
}

#[test]
fn backward_functions_see_contiguous_gradients_off_the_tape() {
    let x = var(1, (2, 3));
    let output = attach([&x], numbers(2, (2, 3)), |gradient, _| {
        assert!(gradient.is_contiguous() && !gradient.track_op());
        Ok([Some(gradient.clone())])
    });
    let transposed = output.and_then(|output| output.t()).unwrap();
    let upstream = numbers(3, (3, 2));
    let gradients = (transposed * &upstream).and_then(|product| product.sum_all()?.backward()).unwrap();
    close(gradients.get(&x).unwrap(), &upstream.t().unwrap(), 0.0);
}

#[test]
fn failures_of_the_backward_pass_are_errors_of_one_line() {
    let x = var(1, (2, 3));
    let doubled = (x.as_tensor() * 2.0).unwrap();
    let missing = attach([&doubled], numbers(2, (2, 3)), |_, _| Ok([None])).unwrap();
    refused(missing.sum_all().unwrap().backward(), &["no gradient", "input 0", "[2, 3]"]);
    let failing = attach([&doubled], numbers(2, (2, 3)), |_, _| bail!("no luck")).unwrap();
    refused(failing.sum_all().unwrap().backward(), &["no luck"]);
    let misshapen = attach([&doubled], numbers(2, (2, 3)), |gradient, _| Ok([Some(gradient.t()?)])).unwrap();
    refused(misshapen.sum_all().unwrap().backward(), &["[2, 3]", "[3, 2]"]);
}

#[test]
fn other_types_than_those_of_the_inputs_are_attached() {
    let x = Var::new(&[1f64, 2.0], &Device::Cpu).unwrap();
    let output = x.to_dtype(DType::F32).map(|narrow| narrow.detach()).unwrap();
    let output = attach([&x], output, |gradient, _| Ok([Some(gradient.to_dtype(DType::F64)?)])).unwrap();
    assert_eq!(output.dtype(), DType::F32);
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert_eq!(values(gradients.get(&x).unwrap()), [1.0; 2]);
}

//! Attention in the forms that exporters write, and in others that look like it.

use crate::common::*;
use candle_core::Tensor;
use rankle_core::{Differentiable, Embedder};

/// Attention of the images `x` `(n, 3, 4, 4)` to themselves, three heads of four tokens of four numbers. `key` scales `kᵀ`, `behind` the
/// products; with `apart` a node that changes nothing keeps them from being one operator.
struct Graph {
    key: Vec<Vec<u8>>,
    behind: Vec<Vec<u8>>,
    axis: i64,
    apart: bool,
}

impl Graph {
    fn file(&self) -> File {
        let scores = if self.behind.is_empty() { "products" } else { "scores" };
        let nodes = [
            vec![node("Mul", &["x", "half"], &["q"], &[]), node("Transpose", &["x"], &["t"], &[ints("perm", &[0, 1, 3, 2])])],
            self.key.clone(),
            vec![node("MatMul", &["q", "k"], &["products"], &[])],
            self.behind.clone(),
            vec![
                node("Identity", &[scores], &["same"], &[]),
                node("Softmax", &[if self.apart { "same" } else { scores }], &["shares"], &[int("axis", self.axis)]),
                node("MatMul", &["shares", "v"], &["result"], &[]),
                node("Reshape", &["result", "shape"], &["y"], &[]),
            ],
        ];
        let constants = vec![
            floats("half", &[], &[0.5]),
            floats("two", &[1], &[2.0]),
            floats("ones", &[1, 1, 1, 1, 1], &[3.0]),
            floats("row", &[4], &[0.5, 1.0, 1.5, 2.0]),
            integers("shape", &[0, 48]),
        ];
        let mut nodes = nodes.concat();
        nodes.insert(0, node("Relu", &["x"], &["v"], &[]));
        File::of(nodes, constants)
    }
}

fn unscaled() -> Vec<Vec<u8>> {
    vec![node("Identity", &["t"], &["k"], &[])]
}

fn scaled(operator: &str, input: &str, by: &str, output: &str) -> Vec<Vec<u8>> {
    vec![node(operator, &[input, by], &[output], &[])]
}

fn results(file: &File, images: &Tensor) -> [Vec<f32>; 2] {
    let model = load(&file.bytes(), "").unwrap();
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let gradient = model.input_gradient(images, &mut |embeddings| Ok(embeddings.sqr()?)).unwrap();
    [values(&model.embed(images).unwrap()), values(&gradient)]
}

#[test]
fn all_forms_are_what_their_nodes_compute() {
    let images = numbers(1, &[3, 3, 4, 4]);
    let forms = [
        ("plain", unscaled(), vec![], 3),
        ("keys scaled", scaled("Mul", "t", "two", "k"), vec![], -1),
        ("products scaled", unscaled(), scaled("Mul", "products", "two", "scores"), -1),
        ("products divided", unscaled(), scaled("Div", "products", "two", "scores"), 3),
        ("both", scaled("Div", "t", "half", "k"), scaled("Mul", "products", "two", "scores"), -1),
        // What is no attention, or not of this scale.
        ("by a row", unscaled(), scaled("Mul", "products", "row", "scores"), -1),
        ("divided by products", unscaled(), vec![node("Div", &["two", "products"], &["scores"], &[])], -1),
        ("of five dimensions", unscaled(), scaled("Mul", "products", "ones", "scores"), -1),
        ("of five dimensions along another axis", unscaled(), scaled("Mul", "products", "ones", "scores"), 3),
        ("along another axis", unscaled(), vec![], 2),
    ];
    for (name, key, behind, axis) in forms {
        let graph = |apart: bool| Graph { key: key.clone(), behind: behind.clone(), axis, apart }.file();
        let (actual, expected) = (results(&graph(false), &images), results(&graph(true), &images));
        for (actual, expected) in actual.iter().zip(&expected) {
            let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0 && actual.len() == expected.len(), "{name}");
            assert!(
                actual.iter().zip(expected).all(|(a, e)| (a - e).abs() <= 2e-6 * largest),
                "{name}: {actual:?}, {expected:?}"
            );
        }
    }
}

/// Shares that another node needs, too.
#[test]
fn shares_may_be_read_twice() {
    let images = numbers(1, &[2, 3, 4, 4]);
    let file = |apart: bool| {
        let graph = Graph { key: unscaled(), behind: vec![], axis: -1, apart };
        let mut file = graph.file();
        file.nodes.pop();
        file.nodes.push(node("Add", &["result", "shares"], &["sum"], &[]));
        file.nodes.push(node("Reshape", &["sum", "shape"], &["y"], &[]));
        file
    };
    let (actual, expected) = (results(&file(false), &images), results(&file(true), &images));
    assert_eq!(actual, expected);
}

//! What a model is asked for besides its numbers: outputs, inputs, sizes, layouts, batches.

use crate::common::*;
use candle_core::{Device, Tensor};
use rankle_core::{Differentiable, Distance, Embedder, Place};
use rankle_onnx::{OnnxModel, Options};

fn weights(len: usize) -> Vec<f32> {
    numbers(3, &[len]).affine(2.0, -1.0).unwrap().to_vec1().unwrap()
}

/// A convolution to `classes` numbers for each image, after ReLU and pooling: `c`, `r`, `p`, `f`, then `y`.
fn classifier(classes: usize) -> File {
    let nodes = vec![
        node("Conv", &["x", "w"], &["c"], &[ints("pads", &[1, 1, 1, 1])]),
        node("Relu", &["c"], &["r"], &[]),
        node("GlobalAveragePool", &["r"], &["p"], &[]),
        node("Flatten", &["p"], &["f"], &[]),
        node("Gemm", &["f", "v"], &["y"], &[int("transB", 1)]),
    ];
    let constants = vec![floats("w", &[5, 3, 3, 3], &weights(135)), floats("v", &[classes as i64, 5], &weights(classes * 5))];
    File::of(nodes, constants)
}

/// Embeddings and gradients, bit for bit.
fn results(model: &OnnxModel, images: &Tensor) -> [Vec<f32>; 2] {
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let gradient = model.input_gradient(images, &mut |embeddings| Ok((embeddings * 2.0)?)).unwrap();
    [values(&model.embed(images).unwrap()), values(&gradient)]
}

#[test]
fn outputs() {
    let mut file = classifier(7);
    file.outputs = vec!["y", "f"];
    refused(&file.bytes(), "", &["it has 2 outputs: say output=NAME, one of y, f"]);
    refused(&file.bytes(), ",output=z", &["no result is named 'z'", "y, f"]);
    for (name, size) in [("y", 7), ("f", 5), ("p", 5)] {
        let model = load(&file.bytes(), &format!(",output={name}")).unwrap();
        assert_eq!((model.embedding_size(), model.output_name(), model.hint()), (size, name, None));
        assert_eq!(model.embed(&numbers(1, &[3, 3, 4, 4])).unwrap().dims(), [3, size]);
    }
    refused(&file.bytes(), ",output=r", &["'r' has shape [1, 5, 4, 4] for 1 images, where (n, d) is needed: say output="]);
    let constant = File::of(vec![node("Relu", &["w"], &["y"], &[])], vec![floats("w", &[1, 3], &[1.0; 3])]);
    refused(&constant.bytes(), "", &["depends on no input"]);
    let shape = File::of(vec![node("Shape", &["x"], &["y"], &[])], vec![]);
    refused(&shape.bytes(), "", &["'y' does not depend on the pixels"]);
}

/// A map's and tokens' mean, and the first token.
#[test]
fn pools() {
    let images = numbers(1, &[3, 3, 4, 4]);
    let plain = load(&classifier(7).bytes(), ",output=f").unwrap();
    let expected = results(&plain, &images);
    // The classifier's own mean of its map `r`, whatever the layout.
    let close = |actual: [Vec<f32>; 2]| {
        for (actual, expected) in actual.iter().zip(&expected) {
            assert!(actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-6));
        }
    };
    let pooled = |file: &File, options: &str| results(&load(&file.bytes(), options).unwrap(), &images);
    let mut file = classifier(7);
    close(pooled(&file, ",output=r,pool=mean"));
    file.nodes.insert(0, node("Transpose", &["image"], &["x"], &[ints("perm", &[0, 3, 1, 2])]));
    file.nodes.push(node("Transpose", &["r"], &["last"], &[ints("perm", &[0, 2, 3, 1])]));
    let last = File { inputs: vec![value("image", 1, &[0, 4, 4, 3])], ..file };
    close(pooled(&last, ",output=last,pool=mean"));

    // 16 tokens of five numbers, and one before them.
    let mut tokens = classifier(7);
    tokens.nodes.extend([
        node("Flatten", &["r"], &["flat"], &[]),
        node("Reshape", &["flat", "by_place"], &["places"], &[]),
        node("Transpose", &["places"], &["tokens"], &[ints("perm", &[0, 2, 1])]),
        node("Unsqueeze", &["f", "one"], &["class"], &[]),
        node("Concat", &["class", "tokens"], &["all"], &[int("axis", 1)]),
    ]);
    tokens.constants.extend([integers("by_place", &[0, 5, 16]), integers("one", &[1])]);
    close(pooled(&tokens, ",output=tokens,pool=mean"));
    close(pooled(&tokens, ",output=all,pool=first"));

    let bytes = tokens.bytes();
    refused(&bytes, ",output=all", &["'all' has shape [1, 17, 5]", "output=NAME of another result, or pool=mean or pool=first"]);
    refused(&bytes, ",output=r,pool=first", &["'r' has shape [1, 5, 4, 4]: pool=mean takes"]);
    refused(&bytes, ",output=y,pool=mean", &["'y' has shape [1, 7]: pool=mean takes"]);
}

#[test]
fn classifiers_have_a_hint() {
    let hint = |file: &File| load(&file.bytes(), "").unwrap().hint().map(str::to_owned);
    let expected = "'y' looks like 1000 scores of classes; the embedding before them is output=f";
    assert_eq!(hint(&classifier(1000)).as_deref(), Some(expected));
    assert_eq!(hint(&classifier(512)), None);
    // Neither the images themselves are an embedding.
    let linear = vec![node("Flatten", &["x"], &["f"], &[]), node("Gemm", &["f", "v"], &["y"], &[])];
    assert_eq!(hint(&File::of(linear, vec![floats("v", &[48, 1000], &weights(48_000))])), None);
    let mut softmax = classifier(7);
    softmax.nodes.push(node("Softmax", &["y"], &["z"], &[]));
    softmax.outputs = vec!["z"];
    let expected = "'z' looks like 7 scores of classes; the embedding before them is output=f";
    assert_eq!(hint(&softmax).unwrap(), expected);
    // Weights that are nodes.
    let weights = softmax.constants.remove(1);
    softmax.nodes.insert(0, node("Constant", &[], &["v"], &[tensor("value", weights)]));
    assert_eq!(hint(&softmax).unwrap(), expected);
}

#[test]
fn inputs() {
    let with = |inputs: Vec<Vec<u8>>| File { inputs, ..classifier(7) }.bytes();
    refused(&with(vec![value("x", 2, &[0, 3, 4, 4])]), "", &["input 'x' takes uint8 numbers", "float32"]);
    refused(&with(vec![value("x", 7, &[0, 3, 4, 4])]), "", &["takes int64 numbers"]);
    refused(&with(vec![value("x", 1, &[0, 48])]), "", &["input 'x' has 2 dimensions, where images have four"]);
    assert!(load(&with(vec![value("x", 10, &[0, 3, 4, 4])]), "").is_ok(), "halves");
    // A second input, which only another output needs.
    let mut two = classifier(7);
    two.nodes.push(node("Add", &["y", "tokens"], &["z"], &[]));
    two.inputs.push(value("tokens", 1, &[0, 7]));
    assert!(load(&two.bytes(), "").is_ok());
    refused(&two.bytes(), ",output=z", &["needs the inputs x, tokens: say output=NAME"]);
}

#[test]
fn sizes() {
    let open = File { inputs: vec![value("x", 1, &[0, 3, 0, 0])], ..classifier(7) }.bytes();
    refused(&open, "", &["images of any height: say size=N"]);
    assert_eq!(load(&open, ",size=6").unwrap().input().shape, (3, 6, 6));
    refused(&classifier(7).bytes(), ",size=6", &["size=6, but the graph takes images of height 4"]);
    // A position for each of 16 pixels: the graph takes no other size, though its input is open.
    let mut fixed = classifier(7);
    fixed.nodes.insert(0, node("Mul", &["image", "position"], &["x"], &[]));
    fixed.inputs = vec![value("image", 1, &[0, 3, 0, 0])];
    fixed.constants.push(floats("position", &[4, 4], &[0.5; 16]));
    assert!(load(&fixed.bytes(), ",size=4").is_ok());
    refused(&fixed.bytes(), ",size=6", &["images of 3 x 6 x 6: node 'x' (Mul)", "do not fit"]);
    refused(&classifier(7).bytes(), ",mean=0.5:0.5", &["2 numbers in mean, for 3 channels"]);
}

#[test]
fn layouts() {
    let images = numbers(1, &[2, 3, 4, 4]);
    let plain = results(&load(&classifier(7).bytes(), "").unwrap(), &images);
    let mut last = classifier(7);
    last.nodes.insert(0, node("Transpose", &["image"], &["x"], &[ints("perm", &[0, 3, 1, 2])]));
    for (dims, options) in [([0, 4, 4, 3], ""), ([0, 0, 0, 3], ",size=4"), ([0, 0, 0, 0], ",size=4,layout=nhwc")] {
        last.inputs = vec![value("image", 1, &dims)];
        let model = load(&last.bytes(), options).unwrap();
        assert_eq!(model.input().shape, (3, 4, 4));
        assert_eq!(results(&model, &images), plain, "{dims:?}");
    }
}

/// Batches of one size are looped over, and no result depends on the batch or on the number of threads.
#[test]
fn batches() {
    let images = numbers(1, &[5, 3, 4, 4]);
    let plain = load(&classifier(7).bytes(), "").unwrap();
    let expected = results(&plain, &images);
    for batch in [1, 2, 5, 8] {
        let mut fixed = File { inputs: vec![value("x", 1, &[batch, 3, 4, 4])], ..classifier(7) };
        // The batch is in the nodes, too.
        fixed.nodes[3] = node("Reshape", &["p", "s"], &["f"], &[]);
        fixed.constants.push(integers("s", &[batch, -1]));
        let fixed = load(&fixed.bytes(), "").unwrap();
        assert_eq!(results(&fixed, &images), expected, "{batch}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| results(&plain, &images)), expected);
    }
    for index in 0..5 {
        let [embedding, gradient] = results(&plain, &images.narrow(0, index, 1).unwrap());
        assert_eq!(embedding, expected[0][index * 7..][..7]);
        assert_eq!(gradient, expected[1][index * 48..][..48]);
    }
    assert_eq!(plain.embed(&images.narrow(0, 0, 0).unwrap()).unwrap().dims(), [0, 7]);
}

/// Images minus the mean of their batch.
fn centered(batch: i64) -> Vec<u8> {
    let mut file = classifier(7);
    file.nodes.push(node("ReduceMean", &["y"], &["m"], &[ints("axes", &[0])]));
    file.nodes.push(node("Sub", &["y", "m"], &["z"], &[]));
    (file.inputs, file.outputs) = (vec![value("x", 1, &[batch, 3, 4, 4])], vec!["z"]);
    file.bytes()
}

#[test]
fn no_embedding_depends_on_other_images() {
    refused(&centered(4), "", &["the embedding of an image depends on the 3 beside it"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("centered");
    std::fs::write(&path, centered(0)).unwrap();
    let images = numbers(1, &[3, 3, 4, 4]);
    for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
        let model = OnnxModel::load(&path, &Options::default(), Distance::Euclidean, &place).unwrap();
        let largest = model.embed(&images).unwrap().abs().unwrap().max_all().unwrap();
        assert_eq!(largest.to_scalar::<f32>().unwrap(), 0.0, "minus itself");
    }
}

/// On a device a batch passes as a whole, unless the nodes take one image at a time.
#[test]
fn batches_on_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let images = numbers(1, &[5, 3, 4, 4]);
    let expected = load(&classifier(7).bytes(), "").unwrap().embed(&images).unwrap();
    let mut single = classifier(7);
    single.nodes[3] = node("Reshape", &["p", "s"], &["f"], &[]);
    single.constants.push(integers("s", &[1, -1]));
    for (name, file) in [("any", classifier(7)), ("single", single)] {
        let path = folder.path().join(name);
        std::fs::write(&path, file.bytes()).unwrap();
        let place = Place::Tensors(Device::Cpu);
        let model = OnnxModel::load(&path, &Options::default(), Distance::Euclidean, &place).unwrap();
        let apart = (model.embed(&images).unwrap() - &expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6, "{name}");
        assert!(matches!(model.place(), Place::Tensors(_)) && model.distance() == Distance::Euclidean);
    }
}

#[test]
fn pixels_are_normalized_first() {
    let images = numbers(1, &[2, 3, 4, 4]);
    let plain = load(&classifier(7).bytes(), "").unwrap();
    let options = ",mean=0.5:0.25:0,std=0.5:0.25:1,resize=square,edge=8,filter=bicubic";
    let normalized = load(&classifier(7).bytes(), options).unwrap();
    let mean = Tensor::new(&[0.5f32, 0.25, 0.0], &Device::Cpu).unwrap().reshape((1, 3, 1, 1)).unwrap();
    let std = Tensor::new(&[0.5f32, 0.25, 1.0], &Device::Cpu).unwrap().reshape((1, 3, 1, 1)).unwrap();
    let by_hand = images.broadcast_sub(&mean).unwrap().broadcast_div(&std).unwrap();
    assert_eq!(results(&normalized, &images)[0], results(&plain, &by_hand)[0]);
    let input = normalized.input();
    assert_eq!(
        (input.resize, input.edge, input.filter),
        (Some(rankle_core::Resize::Square), Some(8), Some(rankle_core::Filter::Bicubic))
    );
}

/// Weights in half precision are those of f32, rounded.
#[test]
fn half_precision() {
    let weights: Vec<f32> = (0..135).map(|at| (at % 16) as f32 / 16.0 - 0.5).collect();
    let mut file = classifier(7);
    file.constants[0] = floats("w", &[5, 3, 3, 3], &weights);
    let expected = results(&load(&file.bytes(), "").unwrap(), &numbers(1, &[2, 3, 4, 4]));
    let halves: Vec<u8> = weights.iter().flat_map(|&weight| half::f16::from_f32(weight).to_le_bytes()).collect();
    file.constants[0] = constant("h", 10, &[5, 3, 3, 3], &halves);
    file.nodes.insert(0, node("Cast", &["h"], &["w"], &[int("to", 1)]));
    assert_eq!(results(&load(&file.bytes(), "").unwrap(), &numbers(1, &[2, 3, 4, 4])), expected);
}

#[test]
fn images_are_checked() {
    let model = load(&classifier(7).bytes(), "").unwrap();
    let message = |images: &Tensor| model.embed(images).unwrap_err().to_string();
    assert!(message(&numbers(1, &[2, 3, 4, 5])).contains("expected (n, 3, 4, 4)"));
    assert!(message(&(numbers(1, &[1, 3, 4, 4]) / 0.0).unwrap()).contains("not finite"));
    let upstream = model.input_gradient(&numbers(1, &[2, 3, 4, 4]), &mut |_| Ok(numbers(1, &[2, 6])));
    assert!(upstream.unwrap_err().to_string().contains("the gradient has shape [2, 6], expected (2, 7)"));
}

//! Damaged, hostile and unsuitable files: one line each, no panic, bounded memory.

use crate::common::*;

/// Global pooling and a matrix to four numbers, with more nodes before.
fn pooled(mut nodes: Vec<Vec<u8>>, constants: Vec<Vec<u8>>, from: &str) -> Vec<u8> {
    nodes.push(node("GlobalAveragePool", &[from], &["p"], &[]));
    nodes.push(node("Flatten", &["p"], &["y"], &[]));
    File::of(nodes, constants).bytes()
}

#[test]
fn no_onnx_files() {
    refused(b"", "", &["it holds no graph"]);
    refused(b"<!doctype html><html></html>", "", &["no ONNX file"]);
    refused(&[0xff; 100], "", &["no ONNX file"]);
    refused(&File::of(vec![], vec![]).bytes(), "", &["'y' is no result of a node"]);
}

#[test]
fn graphs_that_do_not_hold_together() {
    let relu = |from: &'static str, to: &'static str| node("Relu", &[from], &[to], &[]);
    refused(&pooled(vec![relu("b", "a"), relu("a", "b")], vec![], "b"), "", &["node 0 needs 'b'", "node 1", "a cycle"]);
    refused(&pooled(vec![relu("a", "a")], vec![], "a"), "", &["a cycle"]);
    refused(&pooled(vec![relu("nowhere", "a")], vec![], "a"), "", &["'nowhere', which nothing computes"]);
    refused(&pooled(vec![relu("x", "a"), relu("x", "a")], vec![], "a"), "", &["nodes 0 and 1 both compute 'a'"]);
    refused(&pooled(vec![node("Add", &["x"], &["a"], &[])], vec![], "a"), "", &["node 'a' (Add): its input 1 is missing"]);
    let conv = node("Conv", &["x", "w"], &["a"], &[]);
    let misshapen = floats("w", &[2, 4, 1, 1], &[1.0; 8]);
    refused(&pooled(vec![conv.clone()], vec![misshapen], "a"), "", &["node 'a' (Conv)", "[2, 4, 1, 1]"]);
    let lying = constant("w", 1, &[1 << 40, 3, 1, 1], &[0; 12]);
    refused(&pooled(vec![conv], vec![lying], "a"), "", &["constant 'w': 12 bytes where its shape"]);
}

#[test]
fn operators_that_are_missing_are_all_named() {
    let nodes = vec![
        node("NonMaxSuppression", &["x"], &["a"], &[]),
        [node("FusedConv", &["a"], &["b"], &[]), bytes(7, "com.microsoft"), bytes(3, "first")].concat(),
    ];
    let parts = ["NonMaxSuppression (node 'a')", "com.microsoft:FusedConv (node 'first')", "implemented are Abs, Add, And"];
    refused(&pooled(nodes, vec![], "b"), "", &parts);
    let quantized = vec![node("QuantizeLinear", &["x"], &["a"], &[])];
    refused(&pooled(quantized, vec![], "a"), "", &["QuantizeLinear (node 'a')", "export it in float32"]);
    // What the output does not need is not looked at.
    let unused = vec![node("Unknown", &["x"], &["a"], &[]), node("Relu", &["x"], &["b"], &[])];
    assert!(load(&pooled(unused, vec![], "b"), "").is_ok());
}

#[test]
fn results_without_end() {
    let huge = [1 << 20, 1 << 20];
    let shape = || integers("s", &huge);
    let one = floats("o", &[1], &[1.0]);
    let add = node("Add", &["x", "c"], &["a"], &[]);
    let room = "there is room for 268435456 numbers";
    let of = |first: Vec<u8>, constants: Vec<Vec<u8>>, name: &str| {
        refused(&pooled(vec![first, add.clone()], constants, "a"), "", &[&format!("node 'c' ({name})"), room]);
    };
    of(node("ConstantOfShape", &["s"], &["c"], &[]), vec![shape()], "ConstantOfShape");
    of(node("Expand", &["o", "s"], &["c"], &[]), vec![shape(), one.clone()], "Expand");
    of(node("Tile", &["o", "t"], &["c"], &[]), vec![integers("t", &[i64::MAX]), one.clone()], "Tile");
    let scalar = |name, number: i64| constant(name, 7, &[], &number.to_le_bytes());
    let ends = || vec![scalar("l", i64::MIN), scalar("h", i64::MAX), scalar("i", 1)];
    of(node("Range", &["l", "h", "i"], &["c"], &[]), ends(), "Range");
    of(node("Pad", &["o", "t"], &["c"], &[]), vec![integers("t", &[1 << 40, 0]), one], "Pad");
    let long = vec![floats("m", &[1 << 15, 1], &[1.0; 1 << 15]), floats("n", &[1, 1 << 15], &[1.0; 1 << 15])];
    of(node("MatMul", &["m", "n"], &["c"], &[]), long.clone(), "MatMul");
    of(node("Mul", &["m", "n"], &["c"], &[]), long, "Mul");

    // Twice as long with every node.
    let names: Vec<String> = (0..64).map(|at| format!("a{at}")).collect();
    let doubled = (0..63).map(|at| node("Concat", &[&names[at], &names[at]], &[&names[at + 1]], &[int("axis", 2)]));
    let first = node("Relu", &["x"], &["a0"], &[]);
    let nodes = [first].into_iter().chain(doubled).collect();
    refused(&pooled(nodes, vec![], "a63"), "", &["(Concat)", room]);
    // Many large ones at a time.
    let constants = (0..64).map(|at| node("ConstantOfShape", &["s"], &[&names[at]], &[]));
    let sum = node("Sum", &names.iter().map(String::as_str).chain(["x"]).collect::<Vec<_>>(), &["b"], &[]);
    let nodes = constants.chain([sum]).collect();
    refused(&pooled(nodes, vec![integers("s", &[1 << 14, 1 << 14])], "b"), "", &["MiB at a time"]);
    // Windows and paddings beyond all images.
    let pads = ints("pads", &[1 << 40, 0, 1 << 40, 0]);
    let kernel = floats("w", &[1, 3, 1, 1], &[1.0; 3]);
    refused(&pooled(vec![node("Conv", &["x", "w"], &["a"], &[pads])], vec![kernel], "a"), "", &["node 'a' (Conv)", room]);
    let pool = node("MaxPool", &["x"], &["a"], &[ints("kernel_shape", &[i64::MAX, 1])]);
    refused(&pooled(vec![pool], vec![], "a"), "", &["node 'a' (MaxPool)"]);
}

/// Lengths that a file declares of its images take no memory before they are checked.
#[test]
fn images_without_end() {
    let huge = 1 << 40;
    for (dims, part) in [
        ([huge, 3, 4, 4], "batches of 1099511627776 images, where 4096 are the most"),
        ([200_000, 3, 4, 4], "batches of 200000 images"),
        ([1, huge, 4, 4], "1 x 1099511627776 x 4 x 4 pixels, where there is room for 268435456"),
        ([1, 3, huge, huge], "pixels, where there is room"),
        ([1, 3, 1_000_000, 1_000_000], "pixels, where there is room"),
        ([4096, 3, 1024, 1024], "4096 x 3 x 1024 x 1024 pixels, where there is room"),
    ] {
        let file = File::of(vec![node("ReduceMean", &["x"], &["y"], &[ints("axes", &[2, 3])])], vec![]);
        refused(&File { inputs: vec![value("x", 1, &dims)], ..file }.bytes(), ",mean=0.5", &[part]);
    }
}

/// Tensors without an element have strides, too.
#[test]
fn lengths_beside_zero() {
    let room = "there is room for 268435456 numbers";
    let empty = || node("Slice", &["x", "zeros", "zeros", "sides"], &["e"], &[]);
    let constants = || vec![integers("zeros", &[0, 0]), integers("sides", &[2, 3]), integers("s", &[0, 1 << 62, 1 << 62])];
    let of = |nodes: Vec<Vec<u8>>, parts: &[&str]| {
        let sum = [node("ReduceSum", &["a"], &["r"], &[]), node("Add", &["x", "r"], &["b"], &[])];
        refused(&pooled([nodes, sum.to_vec()].concat(), constants(), "b"), "", parts);
    };
    of(vec![node("ConstantOfShape", &["s"], &["a"], &[])], &["(ConstantOfShape)", room]);
    of(vec![empty(), node("Reshape", &["e", "s"], &["a"], &[int("allowzero", 1)])], &["(Reshape)", room]);
    of(vec![empty(), node("SpaceToDepth", &["e"], &["a"], &[int("blocksize", 1 << 62)])], &["(SpaceToDepth)", room]);
    let no_channels = node("Slice", &["x", "zero", "zero", "one"], &["e"], &[]);
    let depth = node("DepthToSpace", &["e"], &["a"], &[int("blocksize", i64::MAX)]);
    let nodes = vec![no_channels, depth, node("Relu", &["a"], &["b"], &[])];
    refused(&pooled(nodes, vec![integers("zero", &[0]), integers("one", &[1])], "b"), "", &["(DepthToSpace)", room]);
    let shape = floats("c", &[0, 1 << 40, 1 << 40], &[]);
    refused(&pooled(vec![node("Add", &["x", "c"], &["a"], &[])], vec![shape], "a"), "", &["constant 'c': a shape of"]);
    let conv = || node("Conv", &["x", "w"], &["a"], &[]);
    refused(&pooled(vec![conv()], vec![floats("w", &[4, 3, 0, 0], &[])], "a"), "", &["(Conv)", "kernels without a pixel"]);
}

#[test]
fn contradictions() {
    let conv = |attributes: &[Vec<u8>]| node("Conv", &["x", "w"], &["a"], attributes);
    let weight = || floats("w", &[1, 3, 1, 1], &[1.0; 3]);
    let file = pooled(vec![conv(&[ints("kernel_shape", &[2, 2])])], vec![weight()], "a");
    refused(&file, "", &["a kernel_shape of [2, 2] for kernels of [1, 1]"]);
    refused(&pooled(vec![conv(&[])], vec![weight(), weight()], "a"), "", &["two constants named 'w'"]);
    let empty = vec![node("Flatten", &["x"], &["f"], &[]), node("Slice", &["f", "z", "z", "o"], &["y"], &[])];
    refused(&File::of(empty, vec![integers("z", &[0]), integers("o", &[1])]).bytes(), "", &["'y' has shape [1, 0]"]);
}

/// Loading takes time in proportion to the file.
#[test]
fn long_graphs_load_at_once() {
    let start = std::time::Instant::now();
    let names: Vec<String> = (0..8000).map(|at| format!("a{at}")).collect();
    let products = names.windows(2).map(|pair| node("MatMul", &[&pair[0], "w"], &[&pair[1]], &[]));
    let first = node("ReduceMean", &["x"], &["a0"], &[ints("axes", &[2, 3]), int("keepdims", 0)]);
    let mut file = File::of([first].into_iter().chain(products).collect(), vec![floats("w", &[3, 3], &[0.5; 9])]);
    file.nodes.push(node("Identity", &["a7999"], &["y"], &[]));
    assert!(load(&file.bytes(), "").is_ok());
    let inputs: Vec<String> = (0..60_000).map(|at| format!("i{at}")).collect();
    let sum = node("Sum", &inputs.iter().map(String::as_str).collect::<Vec<_>>(), &["y"], &[]);
    let inputs = inputs.iter().map(|name| value(name, 1, &[0, 3, 4, 4])).collect();
    refused(&File { inputs, ..File::of(vec![sum], vec![]) }.bytes(), "", &["the inputs i0, i1,", "i9 and 59990 more: say"]);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn arithmetic_of_shapes_overflows_with_an_error() {
    for (operator, a, b) in [("Add", i64::MAX, 1), ("Mul", i64::MAX, 2), ("Div", 1, 0), ("Div", i64::MIN, -1), ("Mod", 1, 0)] {
        let nodes = vec![node(operator, &["a", "b"], &["c"], &[]), node("Reshape", &["x", "c"], &["d"], &[])];
        let constants = vec![integers("a", &[a]), integers("b", &[b])];
        refused(&pooled(nodes, constants, "d"), "", &[&format!("node 'c' ({operator})"), "no integer of 64 bits"]);
    }
}

#[test]
fn attributes_of_another_kind() {
    let wrong = node("Concat", &["x", "x"], &["a"], &[ints("axis", &[1])]);
    refused(&pooled(vec![wrong], vec![], "a"), "", &["node 'a' (Concat)", "'axis' is no integer"]);
    let wrong = node("Transpose", &["x"], &["a"], &[ints("perm", &[0, 1, 2, 2])]);
    refused(&pooled(vec![wrong], vec![], "a"), "", &["node 'a' (Transpose)", "one of them twice"]);
    // A graph within a node, nested ten thousand times: it is not looked at.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested = bytes(6, bytes(1, bytes(5, nested)));
    }
    let branch = [bytes(1, "then_branch"), nested].concat();
    refused(&pooled(vec![node("If", &["x"], &["a"], &[branch])], vec![], "a"), "", &["If (node 'a')"]);
}

#[test]
fn constants_in_other_files() {
    let external = |location: &str| {
        let entry = bytes(13, [bytes(1, "location"), bytes(2, location)].concat());
        [number(1, 3), number(2, 1), bytes(8, "c"), entry, number(14, 1)].concat()
    };
    let add = node("Mul", &["x", "c"], &["a"], &[]);
    let of = |location: &str| pooled(vec![add.clone()], vec![external(location)], "a");
    for location in ["/etc/passwd", "../model.onnx", "a/../../b"] {
        refused(&of(location), "", &["constant 'c'", location, "outside of the model's folder"]);
    }
    refused(&of("weights.bin"), "", &["constant 'c'", "'weights.bin', which cannot be read"]);
}

/// Every cut of a file, and a thousand with a few changed bytes.
#[test]
fn damaged_files_never_panic() {
    let whole = std::fs::read(fixture("vit-script-17.onnx")).unwrap();
    let check = |bytes: &[u8]| {
        if let Err(error) = load(bytes, "") {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    };
    (0..whole.len()).step_by(whole.len() / 100).for_each(|len| check(&whole[..len]));
    // The graph alone: most of the file are numbers.
    let file = pooled(
        vec![
            node("Conv", &["x", "w", "b"], &["c"], &[ints("pads", &[1, 1, 1, 1]), ints("kernel_shape", &[1, 1])]),
            node("Shape", &["c"], &["s"], &[]),
            node("Gather", &["s", "zero"], &["n"], &[]),
            node("Concat", &["n", "rest"], &["t"], &[int("axis", 0)]),
            node("Reshape", &["c", "t"], &["r"], &[]),
            node("Transpose", &["r"], &["q"], &[ints("perm", &[0, 2, 1])]),
            node("MatMul", &["r", "q"], &["m"], &[]),
            node("Softmax", &["m"], &["o"], &[]),
            node("Unsqueeze", &["o", "zero"], &["u"], &[]),
            node("Transpose", &["u"], &["v"], &[ints("perm", &[1, 0, 2, 3])]),
        ],
        vec![
            floats("w", &[2, 3, 1, 1], &[0.5; 6]),
            floats("b", &[2], &[0.5; 2]),
            integers("zero", &[0]),
            integers("rest", &[2, -1]),
        ],
        "v",
    );
    assert!(load(&file, "").is_ok());
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..1000 {
        let mut changed = file.clone();
        for _ in 0..=random(3) {
            let at = random(changed.len());
            changed[at] = random(256) as u8;
        }
        check(&changed);
    }
}

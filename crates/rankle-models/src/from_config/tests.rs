use super::*;
use rankle_core::Filter;

/// The name of the architecture, and resizing, edge and filter.
fn read(config: &str, preprocessor: Option<&str>) -> Result<(String, Resize, usize, Filter)> {
    let (architecture, input) = Architecture::from_config(config, preprocessor)?;
    assert_eq!(architecture.to_string().parse::<Architecture>()?, architecture);
    assert_eq!(architecture.input(), input.shape);
    Ok((architecture.to_string(), input.resize.unwrap(), input.edge.unwrap(), input.filter.unwrap()))
}

const IMAGENET: &str = r#""image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]"#;
const HALF: &str = r#""image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]"#;
const CLIP: &str = r#""image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]"#;
const DINOV2: &str = r#"{"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12, "mlp_ratio": 4,
    "hidden_act": "gelu", "image_size": 518, "patch_size": 14, "layer_norm_eps": 1e-06, "qkv_bias": true, "use_swiglu_ffn": false}"#;

#[test]
fn files_of_transformers_name_architectures() {
    let center = format!(
        r#"{{"do_center_crop": true, "crop_size": {{"height": 224, "width": 224}}, "do_resize": true, "do_rescale": true, "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {{"shortest_edge": 256}}, {IMAGENET}}}"#
    );
    let old_clip = format!(r#"{{"crop_size": 224, "do_center_crop": true, "size": 224, "resample": 3, {CLIP}}}"#);
    let square = format!(r#"{{"size": {{"height": 224, "width": 224}}, "resample": 3, {HALF}}}"#);
    let larger = format!(r#"{{"size": {{"shortest_edge": 336}}, "crop_size": {{"height": 336, "width": 336}}, {CLIP}}}"#);
    let clip_large = r#"{"model_type": "clip", "projection_dim": 768, "vision_config": {"hidden_size": 1024, "image_size": 336,
        "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768}}"#;
    let small = r#"{"model_type": "clip_vision_model", "hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 2,
        "projection_dim": 32, "hidden_act": "gelu", "patch_size": 16}"#;
    for (config, preprocessor, name, resize, edge) in [
        (DINOV2, Some(&center), "dinov2-small", Resize::Shorter, 256),
        (DINOV2, None, "dinov2-small", Resize::Shorter, 256),
        (
            r#"{"model_type": "dinov2_with_registers", "image_size": 518, "patch_size": 14}"#,
            Some(&center),
            "dinov2-base,registers=4",
            Resize::Shorter,
            256,
        ),
        (
            r#"{"model_type": "clip", "projection_dim": 512, "text_config": {"hidden_size": 512}, "vision_config": {"patch_size": 32}}"#,
            Some(&old_clip),
            "clip-vit-base-patch32",
            Resize::Shorter,
            224,
        ),
        (clip_large, Some(&larger), "clip-vit-large-patch14,pretrained-size=336,size=336", Resize::Shorter, 336),
        (
            small,
            Some(&old_clip),
            "clip-vit,width=48,depth=2,heads=3,dense-width=3072,patch=16,embedding-size=32,activation=gelu",
            Resize::Shorter,
            224,
        ),
        (
            r#"{"model_type": "siglip", "vision_config": {"model_type": "siglip_vision_model"}}"#,
            Some(&square),
            "siglip-base-patch16-224",
            Resize::Square,
            224,
        ),
    ] {
        let expected = (name.to_owned(), resize, edge, Filter::Bicubic);
        assert_eq!(read(config, preprocessor.map(String::as_str)).unwrap(), expected);
    }
}

#[test]
fn files_of_timm_name_architectures() {
    let vit = r#"{"architecture": "vit_small_patch16_224", "num_classes": 21843, "global_pool": "token", "pretrained_cfg": {
        "tag": "augreg_in21k", "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "pool_size": null}}"#;
    let large = r#"{"architecture": "vit_base_patch16_384", "pretrained_cfg": {"input_size": [3, 384, 384], "crop_pct": 1.0,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
    let resnet = r#"{"architecture": "resnet50", "global_pool": "avg", "pretrained_cfg": {"input_size": [3, 224, 224],
        "interpolation": "bilinear", "crop_pct": 0.95, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
    // Without `pretrained_cfg`.
    let mobilenet = r#"{"architecture": "mobilenetv2_100", "input_size": [3, 192, 192], "crop_mode": "squash"}"#;
    for (config, name, resize, edge, filter) in [
        (vit, "vit-small-patch16-224", Resize::Shorter, 248, Filter::Bicubic),
        (
            large,
            "vit-base-patch16-224,pretrained-size=384,size=384,normalization=imagenet",
            Resize::Shorter,
            384,
            Filter::Bicubic,
        ),
        (resnet, "resnet50", Resize::Shorter, 235, Filter::Bilinear),
        (mobilenet, "mobilenetv2-100,size=192", Resize::Square, 219, Filter::Bicubic),
    ] {
        assert_eq!(read(config, None).unwrap(), (name.to_owned(), resize, edge, filter));
    }
}

#[test]
fn what_is_not_supported_is_said_in_one_bounded_line() {
    let says = |config: &str, preprocessor: Option<&str>| read(config, preprocessor).unwrap_err().to_string();
    let long = "\n".to_owned() + &"x".repeat(5000);
    let deep = format!("{{\"x\": {}", "[".repeat(100_000));
    for (config, problem) in [
        ("", "EOF"),
        ("[]", "config.json: "),
        ("{}", "neither 'model_type'"),
        (&deep, "EOF while parsing"),
        (&" ".repeat(2_000_000), "at most 1048576 are read"),
        (r#"{"model_type": "bert"}"#, "model_type 'bert' is not supported; supported are dinov2"),
        (&format!("{{\"model_type\": {long:?}}}"), "…' is not supported"),
        (&format!("{{\"model_type\": [{long:?}]}}"), "invalid type"),
        (r#"{"model_type": "dinov2", "model_type": "clip"}"#, "duplicate field"),
        (r#"{"model_type": "dinov2", "hidden_size": 1e300}"#, "invalid type"),
        (r#"{"model_type": "dinov2", "hidden_size": 18446744073709551615}"#, "a width of 18446744073709551615 is not supported"),
        (r#"{"model_type": "dinov2", "mlp_ratio": -1e300}"#, "a dense-width of 0 is not supported"),
        (r#"{"model_type": "dinov2", "num_hidden_layers": 41}"#, "a depth of 41 is not supported"),
        (r#"{"model_type": "dinov2", "num_attention_heads": 7}"#, "no multiple of 7 heads"),
        (r#"{"model_type": "dinov2", "image_size": [224, 448]}"#, "'image_size' is no square"),
        (r#"{"model_type": "dinov2", "use_swiglu_ffn": true}"#, "SwiGLU"),
        (r#"{"model_type": "dinov2", "layer_norm_eps": 1e-5}"#, "layer_norm_eps"),
        (r#"{"model_type": "clip", "vision_config": {"hidden_act": "relu"}}"#, "hidden_act 'relu'"),
        (r#"{"model_type": "siglip", "vision_config": {"vision_use_head": false}}"#, "no head"),
        (r#"{"architecture": "vit_small_patch16_999999"}"#, "architecture 'vit_small_patch16_999999' is not supported"),
        (r#"{"architecture": "lenet"}"#, "architecture 'lenet' is not supported"),
        (r#"{"architecture": "resnet50", "model_args": {"stem_width": 32}}"#, "the argument 'stem_width' of resnet50"),
        (r#"{"architecture": "vit_tiny_patch16_224", "global_pool": "avg"}"#, "global_pool 'avg' is not supported"),
        (r#"{"architecture": "resnet50", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}"#, "not by 'half'"),
        (r#"{"architecture": "resnet50", "mean": [0, 0, 0], "std": [1, 1, 1]}"#, "no known normalization (imagenet, clip, half)"),
        (r#"{"architecture": "resnet50", "input_size": [1, 28, 28]}"#, "not square and of three colors"),
        (r#"{"architecture": "resnet50", "input_size": [3, 9, 9]}"#, "takes no 'size=9'"),
        (r#"{"architecture": "resnet50", "crop_pct": 0}"#, "crop_pct"),
        (r#"{"architecture": "resnet50", "crop_mode": "border"}"#, "crop_mode 'border'"),
    ] {
        let message = says(config, None);
        assert!(message.contains(problem), "{problem}: {message}");
        assert!(message.lines().count() == 1 && message.len() < 700, "{message}");
    }
    for (preprocessor, problem) in [
        (r#"{"size": 224, "do_rescale": false}"#.to_owned(), "not divided by 255"),
        (r#"{"size": 224}"#.to_owned(), "'image_mean' or 'image_std' is missing"),
        (r#"{"do_normalize": false}"#.to_owned(), "not normalized"),
        (format!(r#"{{"size": {{"shortest_edge": 224}}, {HALF}}}"#), "no images of one square size"),
        (format!(r#"{{"size": 224, "crop_size": 224, "resample": 0, {HALF}}}"#), "resample 0 is neither"),
        (format!(r#"{{"size": 224, "crop_size": 256, {HALF}}}"#), "images of 256 pixels from photographs of 224"),
        (format!(r#"{{"size": 4096, "crop_size": 4096, {HALF}}}"#), "images of 4096 pixels are not supported"),
        (format!(r#"{{"size": 224, "crop_size": 224, "do_resize": false, {HALF}}}"#), "not resized"),
        (r#"{"size": "large"}"#.to_owned(), "did not match any variant"),
    ] {
        let message = says(DINOV2, Some(&preprocessor));
        assert!(message.starts_with("preprocessor_config.json: ") && message.contains(problem), "{problem}: {message}");
        assert!(message.lines().count() == 1 && message.len() < 700, "{message}");
    }
}

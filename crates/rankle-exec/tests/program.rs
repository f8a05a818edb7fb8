//! Programs as models: one in plain Python, and some that misbehave.

use candle_core::{DType, Device, Tensor};
use rankle_core::{Distance, Embedder, Error, Result};
use rankle_exec::{PROBES, Program, Settings, probe_distances, probe_images};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SETTINGS: Settings = Settings { timeout: Duration::from_secs(20), processes: 1, interrupted: || false };

fn start(file: &str, settings: Settings) -> Result<Arc<Program>> {
    let folder = env!("CARGO_MANIFEST_DIR");
    Program::start(&format!("python3 '{folder}'/{file}"), settings).map(Arc::new)
}

fn plain(settings: Settings) -> Arc<Program> {
    start("examples/stdlib.py", settings).unwrap()
}

fn zeros(images: usize) -> Tensor {
    Tensor::zeros((images, 1, 2, 2), DType::F32, &Device::Cpu).unwrap()
}

/// The message of a program that misbehaves, after its command.
fn told(how: &str, timeout: Duration) -> String {
    let settings = Settings { timeout, ..SETTINGS };
    let embedded = start(&format!("tests/hostile.py {how}"), settings)
        .and_then(|program| program.model(Distance::Euclidean).embed(&zeros(3)));
    let message = embedded.unwrap_err().to_string();
    assert!(message.starts_with("exec:python3 '") && message.lines().count() == 1, "{message}");
    message.split_once(&format!("hostile.py {how} ")).unwrap().1.to_owned()
}

#[test]
fn a_program_embeds_and_has_a_gradient() {
    let program = plain(SETTINGS);
    assert_eq!((program.description().input.shape, program.description().embedding_size), ((1, 28, 28), 49));
    let model = program.model(Distance::Euclidean);
    let images = probe_images((1, 28, 28)).unwrap();
    let embeddings = model.embed(&images).unwrap();
    assert_eq!(embeddings.dims(), [PROBES, 49]);
    let first = images.narrow(0, 1, 1).unwrap().narrow(2, 0, 4).unwrap().narrow(3, 0, 4).unwrap().mean_all().unwrap();
    let got = embeddings.to_vec2::<f32>().unwrap()[1][0];
    assert!((got - first.to_scalar::<f32>().unwrap()).abs() < 1e-6, "{got}");
    let gradient = model.differentiable().unwrap().input_gradient(&images, &mut |raw| Ok((raw.ones_like()? * 16.0)?)).unwrap();
    assert_eq!(gradient.dims(), images.dims());
    assert!(gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|&x| x == 1.0));
    let message = model.embed(&zeros(1)).unwrap_err().to_string();
    assert_eq!(message, "the batch of images has shape [1, 1, 2, 2], expected (n, 1, 28, 28)");
}

#[test]
fn results_do_not_depend_on_the_number_of_copies() {
    let images = probe_images((1, 28, 28)).unwrap();
    let images = Tensor::cat(&[&images; 9], 0).unwrap();
    let embed = |processes| {
        let embeddings = plain(Settings { processes, ..SETTINGS }).model(Distance::Cosine).embed(&images).unwrap();
        embeddings.to_vec2::<f32>().unwrap()
    };
    assert_eq!(embed(1), embed(4));
}

#[test]
fn probes_tell_models_apart() {
    let distances = |distance| probe_distances(&plain(SETTINGS).model(distance)).unwrap();
    let cosine = distances(Distance::Cosine);
    assert_eq!((cosine.len(), &cosine), (PROBES * (PROBES - 1) / 2, &distances(Distance::Cosine)));
    assert_ne!(cosine, distances(Distance::Euclidean));
    let zero = start("tests/hostile.py plain", SETTINGS).unwrap();
    let message = probe_distances(&zero.model(Distance::Cosine)).unwrap_err().to_string();
    assert!(message.starts_with("the embedding of probe image 0 is zero"), "{message}");
}

#[test]
fn a_program_that_misbehaves_is_told_in_one_line() {
    let long = Duration::from_secs(20);
    for (how, reason) in [
        ("dies-at-once", "gave no answer to describe: it ended (exit status: 1); its last words: no GPU | no luck"),
        ("tomorrow", "answers describe with protocol \"9\", and this program speaks protocol 1"),
        ("dies", "gave no answer to embed: it ended (exit status: 7); it said nothing on standard error"),
        ("lies", "answers embed with a wrong length (bytes 00 00 00 00 00 01 00 00): a frame begins with its length as 8 bytes"),
        ("floods", "answers embed with a wrong length (bytes 00 00 10 00 00 00 00 00): a frame begins"),
        ("garbage", "answers embed with no safetensors file ("),
        ("nan", "answers embed with numbers that are not finite (NaN or infinity): \"embeddings\" must be finite"),
        ("shape", "answers embed with \"embeddings\" of shape [1, 3], not [3, 1]"),
        ("double", "answers embed with \"embeddings\" as F64, not as F32: convert it to float32"),
        ("name", "answers embed with no tensor \"embeddings\" (its tensors: \"features\")"),
        ("error", "answers embed with an error: images are too bright"),
        ("greets", "prints \"Loading model ...\" to standard output, which is for answers alone: print to standard error"),
        ("prints", "prints \"embedding 1 of 7\" to standard output, which is for answers alone"),
    ] {
        let message = told(how, long);
        assert!(message.starts_with(reason), "{how}: {message}");
    }
}

#[test]
fn a_program_that_hangs_is_ended_in_time() {
    // Long enough for Python to start on a busy machine.
    let (start, short) = (Instant::now(), Duration::from_secs(5));
    for (how, reason) in [
        ("deaf", "gave no answer to describe within 5 s: raise --model-timeout if it needs longer"),
        ("hangs", "gave no answer to embed within 5 s: raise --model-timeout"),
        ("half", "gave no more than 50 bytes to embed within 5 s"),
        ("greets-shortly", "prints \"hi\" to standard output"),
        ("closes", "gave no answer to embed: it closed its standard output"),
    ] {
        let message = told(how, short);
        assert!(message.starts_with(reason), "{how}: {message}");
    }
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
}

#[test]
fn copies_work_at_the_same_time_and_must_be_of_one_model() {
    let images = zeros(32 * 8);
    let several = Settings { processes: 4, ..SETTINGS };
    let program = start("tests/hostile.py plain", several).unwrap();
    assert_eq!(program.model(Distance::Euclidean).embed(&images).unwrap().dims(), [256, 1]);
    let message = start("tests/hostile.py changes", several).unwrap();
    let message = message.model(Distance::Euclidean).embed(&images).unwrap_err().to_string();
    assert!(message.contains(" describes itself otherwise when started again: "), "{message}");
}

#[test]
fn an_interrupt_ends_the_wait() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let settings = Settings { interrupted: || ASKED.load(Ordering::Relaxed), ..SETTINGS };
    let program = start("tests/hostile.py hangs", settings).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            ASKED.store(true, Ordering::Relaxed);
        });
        let error = program.model(Distance::Euclidean).embed(&zeros(1)).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The leader of a group may end before the others do.
#[cfg(target_os = "linux")]
#[test]
fn what_a_program_started_ends_with_it() {
    let file = std::env::temp_dir().join(format!("rankle-exec-{}", std::process::id()));
    let (told, example) = (file.display(), concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stdlib.py"));
    let program =
        Program::start(&format!("sh -c 'sleep 600 & echo $! > \"{told}\"; exec python3 \"{example}\"'"), SETTINGS).unwrap();
    let sleeper = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    // In a container nobody may wait for it.
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(lives());
    drop(program);
    let start = Instant::now();
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(10), "{sleeper} lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_no_program_is_told() {
    for (command, part) in [
        (
            "/no/such/program x",
            "exec:/no/such/program x cannot be started (No such file or directory (os error 2)): name a program",
        ),
        ("'", "exec:' is no command: a quote has no end"),
        ("true", "exec:true gave no answer to describe: it ended (exit status: 0)"),
    ] {
        let message = Program::start(command, SETTINGS).unwrap_err().to_string();
        assert!(message.starts_with(part), "{message}");
    }
}

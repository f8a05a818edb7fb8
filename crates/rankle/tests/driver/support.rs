//! Helpers that run the program, and weights for it.

use rankle_data::{Name, Split};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

/// The program, with arguments separated by blanks.
pub(crate) fn rankle(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rankle"));
    command.args(arguments.split_whitespace());
    command
}

/// Exit code, standard output and standard error of a run. Progress lines are removed, because they depend on the speed.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let mut stderr = String::from_utf8(stderr).unwrap();
    if stderr.starts_with("progress: ") || stderr.contains("\nprogress: ") {
        stderr = stderr.lines().filter(|line| !line.starts_with("progress: ")).map(|line| format!("{line}\n")).collect();
    }
    (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), stderr)
}

/// Waits until a running command has written a file.
pub(crate) fn wait_for(path: &Path, child: &mut Child) {
    wait_until(child, &path.display().to_string(), || path.exists());
}

/// Waits for a condition while a command runs.
pub(crate) fn wait_until(child: &mut Child, what: &str, is_there: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(child.try_wait().unwrap().is_none(), "ended before {what} was there");
        assert!(start.elapsed() < Duration::from_secs(120), "{what} does not appear");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The JSON object on standard output of a run that must succeed.
pub(crate) fn json(command: &mut Command) -> Value {
    let (code, stdout, stderr) = outcome(command);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// A JSON object without the named fields.
pub(crate) fn without(mut object: Value, fields: &[&str]) -> Value {
    for field in fields {
        object.as_object_mut().unwrap().remove(*field).unwrap_or_else(|| panic!("no field {field}"));
    }
    object
}

/// Weights of a model trained on 1,000 images for two epochs, enough to rank better than chance. Each build of the program trains
/// it once, however many processes run the tests.
pub(crate) fn weights() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = of_this_build();
        loop {
            let train = "train --dataset mnist --model c2f2 --distance cosine --images 1000 --batch-size 500 --epochs 2 --output";
            match outcome(rankle(train).arg(&folder)) {
                (0, ..) => return folder.join("model.safetensors"),
                (1, _, stderr) if stderr.contains(" is in use by ") => std::thread::sleep(Duration::from_millis(100)),
                (code, _, stderr) => panic!("{code}: {stderr}"),
            }
        }
    })
}

/// Folder for the weights of this build; removes those of other builds.
fn of_this_build() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = std::fs::metadata(env!("CARGO_BIN_EXE_rankle")).unwrap();
    let made = program.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("weights-{made}-{}", program.len());
    for entry in std::fs::read_dir(place).unwrap().flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with("weights-") && *other != *name {
            // Another process may have removed the folder first.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    place.join(name)
}

/// The shipped weights, of another model than [`weights`].
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mnist-c2f2-cosine-triplet/model.safetensors")
}

/// A command on the model of [`weights`] and MNIST.
pub(crate) fn on_mnist(command: &str, rest: &str) -> Command {
    let mut command = rankle(command);
    command.args(["--dataset", "mnist", "--model", "c2f2", "--distance", "cosine", "--weights"]).arg(weights());
    command.args(rest.split_whitespace());
    command
}

/// A dataset of 400 test digits, a gallery so small that a command takes less than a second.
pub(crate) fn digits() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("digits-400");
        if !folder.exists() {
            let whole = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            write_digits(whole.path(), Split::Test, 400);
            // Another process may have been faster.
            std::fs::rename(whole.path(), &folder).ok();
        }
        format!("folder,test=all:{}", folder.display())
    })
}

/// A command on the model of [`weights`] and [`digits`].
pub(crate) fn on_digits(command: &str, rest: &str) -> Command {
    let mut command = rankle(command);
    command.args(["--dataset", digits(), "--model", "c2f2", "--distance", "cosine", "--weights"]).arg(weights());
    command.args(rest.split_whitespace());
    command
}

/// Writes an uncompressed BMP; `pixel` returns blue, green and red.
pub(crate) fn bmp(path: &Path, (width, height): (u32, u32), pixel: impl Fn(u32, u32) -> [u8; 3]) {
    let row = (3 * width).next_multiple_of(4);
    let header: [u32; 11] = [54 + row * height, 0, 54, 40, width, height, 1 | 24 << 16, 0, row * height, 0, 0];
    let mut bytes = b"BM".to_vec();
    bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()).chain([0; 8]));
    for y in (0..height).rev() {
        bytes.extend((0..width).flat_map(|x| pixel(x, y)).chain((3 * width..row).map(|_| 0)));
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes the first digits of a split of MNIST as photographs: embedding all of MNIST for every command would take minutes.
fn write_digits(folder: &Path, split: Split, count: usize) {
    let dataset = rankle_data::open(Name::Mnist, split, None).unwrap();
    let pixels = dataset.images(&(0..count).collect::<Vec<_>>()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (image, (pixels, label)) in pixels.chunks_exact(784).zip(dataset.labels()).enumerate() {
        let pixel = |x: u32, y: u32| [(255.0 * pixels[(28 * y + x) as usize]).round() as u8; 3];
        bmp(&folder.join(format!("{label}/{image:03}.bmp")), (28, 28), pixel);
    }
}

/// Test digits, all of them queries and gallery.
pub(crate) struct Digits(TempDir);

impl Digits {
    pub(crate) fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_digits(folder.path(), Split::Test, count);
        Self(folder)
    }

    pub(crate) fn name(&self) -> String {
        format!("folder,test=all:{}", self.0.path().display())
    }

    /// A command on the digits and a C2F2, by cosine distance.
    pub(crate) fn on(&self, line: &str) -> Command {
        let mut command = rankle(line);
        command.args(["--dataset", &self.name(), "--model", "c2f2", "--distance", "cosine"]);
        command
    }
}

/// Digits to train on and to test with.
pub(crate) fn splits() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("train"), Split::Train, 200);
    write_digits(&folder.path().join("test"), Split::Test, 100);
    folder
}

/// Forty photographs in four classes, a gallery so small that a command takes less than a second.
pub(crate) fn photographs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for image in 0..40u32 {
        let pixel = |x: u32, y: u32| [x * 5, y * 7, image].map(|value| (value * 31 + image % 4 * 57) as u8);
        bmp(&folder.path().join(format!("{}/{image}.bmp", image % 4)), (28, 28), pixel);
    }
    folder
}

/// Shape and numbers of a tensor in a safetensors file.
pub(crate) fn floats(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (tensor.shape().to_vec(), values)
}

/// Shape and indices of a tensor in a safetensors file.
pub(crate) fn indices(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<u32>) {
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::U32, "{name}");
    let values = tensor.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    (tensor.shape().to_vec(), values)
}

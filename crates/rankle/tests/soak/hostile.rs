//! Truncated, corrupted and malicious files, by class.

use crate::Size;
use crate::support::{bmp, on_mnist, outcome, rankle, weights};
use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time after which a process gets SIGTERM, which it must obey.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest size of the messages, whatever they quote.
const LONGEST: usize = 20_000;

/// A file, and the command that reads it.
struct Class {
    name: &'static str,
    folder: TempDir,
    file: PathBuf,
    command: Box<dyn Fn(&Path) -> Command>,
}

pub(crate) fn files(size: &Size) {
    let mut random = Seed(3).stream(Purpose::Toy, [0, 0]);
    for class in classes() {
        let whole = fs::read(&class.file).unwrap();
        let mut codes = BTreeMap::<i32, usize>::new();
        for input in 0..size.inputs {
            fs::write(&class.file, spoil(&whole, input, &mut random)).unwrap();
            let (code, stderr) = run((class.command)(class.folder.path()));
            let kept = class.folder.path().join("kept");
            fs::copy(&class.file, &kept).unwrap();
            let place = format!("{} {input}, kept in {}: {stderr}", class.name, kept.display());
            let fine = matches!(code, 0 | 1 | 2 | 130) && !stderr.contains("panicked") && stderr.len() < LONGEST;
            if !fine {
                let _ = class.folder.keep();
                panic!("exit code {code}: {place}");
            }
            *codes.entry(code).or_default() += 1;
        }
        println!("soak: hostile {}: {} files; exit codes and how often: {codes:?}", class.name, size.inputs);
    }
}

/// The content with one of nine kinds of damage.
fn spoil(whole: &[u8], input: usize, random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let place = random.random_range(0..bytes.len().max(1)).min(bytes.len());
    // Half of the positions are near the beginning, because headers are the most sensitive part.
    let place = if random.random() { place } else { place.min(random.random_range(0..200)) };
    match input % 9 {
        0 => bytes.truncate(place),
        1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
        2 => bytes.iter_mut().skip(place).take(8).for_each(|byte| *byte = random.random()),
        3 => bytes.iter_mut().skip(place).take(64).for_each(|byte| *byte = 0),
        4 => drop(bytes.splice(place..place, (0..100).map(|_| 0xFF))),
        5 => bytes.extend_from_within(place..),
        6 => drop(bytes.drain(..place)),
        // Changes digits of a text file.
        7 => bytes.iter_mut().skip(place).filter(|byte| byte.is_ascii_digit()).take(3).for_each(|byte| *byte = b'9'),
        _ => bytes.rotate_left(place),
    }
    bytes
}

fn run(mut command: Command) -> (i32, String) {
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(said.reopen().unwrap()).spawn().unwrap();
    let start = Instant::now();
    let mut asked = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE && !asked {
            asked = true;
            Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
        }
        assert!(start.elapsed() < 4 * PATIENCE, "it neither ends nor obeys");
        std::thread::sleep(Duration::from_millis(5));
    };
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&fs::read(said.path()).unwrap()).into_owned())
}

fn class(name: &'static str, file: &str, make: impl Fn(&Path), command: impl Fn(&Path) -> Command + 'static) -> Class {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let file = folder.path().join(file);
    assert!(file.is_file(), "{name} is made");
    let class = Class { name, folder, file, command: Box::new(command) };
    let (code, stderr) = run((class.command)(class.folder.path()));
    assert_eq!(code, 0, "{name}: {stderr}");
    class
}

const TRAIN: &str = "train --dataset mnist --model c2f2 --distance cosine --images 200 --batch-size 100 --epochs 2 --output";

fn classes() -> Vec<Class> {
    let finished = |folder: &Path| assert_eq!(outcome(rankle(TRAIN).arg(folder.join("model"))).0, 0);
    let model = |folder: &Path| {
        fs::copy(weights(), folder.join("model.safetensors")).unwrap();
    };
    let plan = |folder: &Path| {
        let cell = serde_json::json!({
            "table": "mnist-ct", "dataset": "mnist", "model": "c2f2", "weights": weights(), "distance": "cosine", "loss": "triplet",
            "defense": "none", "attack": "ca+", "targets": 1, "epsilon": 0.1, "protocol": "paper", "eight_bit": false,
            "images": 10, "seed": 0, "step": 0.05, "iterations": 3,
        });
        fs::write(folder.join("plan.jsonl"), format!("{cell}\n")).unwrap();
    };
    let sweep = |folder: &Path| {
        let mut command = rankle("sweep --plan");
        command.arg(folder.join("plan.jsonl")).arg("--records").arg(folder.join("records.jsonl"));
        command
    };
    let swept = |folder: &Path| {
        plan(folder);
        assert_eq!(outcome(sweep(folder).arg("--image-ranks")).0, 0);
    };
    let photographs = |folder: &Path| {
        for image in 0..16u32 {
            let pixel = |x: u32, y: u32| [x, y, image].map(|value| (value * 31) as u8);
            bmp(&folder.join(format!("photos/{}/{image}.bmp", image % 4)), (16, 16), pixel);
        }
        fs::write(folder.join("photos/list.txt"), "0/0.bmp\n1/1.bmp\n0/4.bmp\n").unwrap();
        fs::write(folder.join("photos/credits.toml"), "license = \"CC0\"\nattribution = \"me\"\n").unwrap();
    };
    let on_photographs = |folder: &Path, dataset: &str| {
        let train = "train --model resnet18,size=32 --distance cosine --epochs 1 --batch-size 4 --dataset";
        let mut command = rankle(train);
        // A new folder each time, because a finished training would not be read again.
        let output = tempfile::tempdir_in(folder).unwrap().keep();
        command.arg(dataset.replace('@', folder.join("photos").to_str().unwrap())).arg("--output").arg(output);
        command
    };
    let list = |folder: &Path| fs::write(folder.join("list"), "0-3,7\n9 11\n").unwrap();
    vec![
        class("weights", "model.safetensors", model, |folder| {
            let mut command = rankle("embed --dataset mnist --model c2f2 --distance cosine --images 4 --weights");
            command.arg(folder.join("model.safetensors")).arg("--output").arg(folder.join("x.safetensors"));
            command
        }),
        class("list of indices", "list", list, |folder| {
            let mut command = on_mnist("embed", &format!("--image-indices @{} --output", folder.join("list").display()));
            command.arg(folder.join("x.safetensors"));
            command
        }),
        class("plan", "plan.jsonl", plan, sweep),
        class("records", "records.jsonl", swept, sweep),
        class("records to verify", "records.jsonl", swept, |folder| {
            let mut command = rankle("verify");
            command.arg(folder.join("records.jsonl"));
            command
        }),
        class("ranks of images", "records.ranks.safetensors", swept, move |folder| {
            let mut command = sweep(folder);
            command.arg("--image-ranks");
            command
        }),
        class("card", "model/card.toml", finished, |folder| {
            let mut command = rankle(TRAIN);
            command.arg(folder.join("model"));
            command
        }),
        class("finished weights", "model/model.safetensors", finished, |folder| {
            let mut command = rankle(TRAIN);
            command.arg(folder.join("model"));
            command
        }),
        class("checkpoint", "checkpoint.safetensors", checkpoint, |folder| {
            let output = folder.join("model");
            fs::remove_dir_all(&output).ok();
            fs::create_dir(&output).unwrap();
            fs::copy(folder.join("checkpoint.safetensors"), output.join("checkpoint.safetensors")).unwrap();
            let mut command = rankle(TRAIN);
            command.arg(output);
            command
        }),
        class("photograph", "photos/0/0.bmp", photographs, move |folder| on_photographs(folder, "folder,images=50%:@")),
        class("list of photographs", "photos/list.txt", photographs, move |folder| {
            on_photographs(folder, "folder,list=list.txt:@")
        }),
        class("credits", "photos/credits.toml", photographs, move |folder| on_photographs(folder, "folder,images=50%:@")),
        class("hashed images in IDX", "mnist/t10k-images-idx3-ubyte.gz", mnist, |folder| {
            let mut command = on_mnist("embed", "--images 4 --dataset-dir");
            command.arg(folder.join("mnist")).arg("--output").arg(folder.join("x.safetensors"));
            command
        }),
        class("images in IDX", "idx/t10k-images-idx3-ubyte", idx, on_idx),
        class("labels in IDX", "idx/t10k-labels-idx1-ubyte", idx, on_idx),
    ]
}

/// Leaves the checkpoint of a training that was killed.
fn checkpoint(folder: &Path) {
    let output = folder.join("model");
    let file = output.join("checkpoint.safetensors");
    for _ in 0..20 {
        let mut child = rankle(TRAIN).arg(&output).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !file.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().ok();
        child.wait().unwrap();
        if fs::copy(&file, folder.join("checkpoint.safetensors")).is_ok() {
            return;
        }
        fs::remove_dir_all(&output).unwrap();
    }
    panic!("no training could be killed between its first checkpoint and its end");
}

/// Writes eight images in IDX files, without a hash to check.
fn idx(folder: &Path) {
    fs::create_dir(folder.join("idx")).unwrap();
    let header = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let pixels: Vec<u8> = (0..8 * 784).map(|at| (at * 7 % 251) as u8).collect();
    fs::write(folder.join("idx/t10k-images-idx3-ubyte"), [header(&[0x803, 8, 28, 28]), pixels].concat()).unwrap();
    fs::write(folder.join("idx/t10k-labels-idx1-ubyte"), [header(&[0x801, 8]), vec![0, 1, 2, 3, 0, 1, 2, 3]].concat()).unwrap();
}

fn on_idx(folder: &Path) -> Command {
    let mut command = rankle("embed --model c2f2 --distance cosine --dataset");
    command.arg(format!("idx:{}", folder.join("idx").display())).arg("--weights").arg(weights());
    command.arg("--output").arg(folder.join("x.safetensors"));
    command
}

fn mnist(folder: &Path) {
    fs::create_dir(folder.join("mnist")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/mnist");
    for entry in fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.join("mnist").join(path.file_name().unwrap())).unwrap();
        }
    }
}

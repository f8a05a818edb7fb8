//! The program `rankle-hub`, with a hub on this machine.

mod server;

use image::{DynamicImage, GrayImage, ImageFormat};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use server::{Files, Reply, Server, hub, noise, sha256};
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Schema of images written by the Python library `datasets`.
const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (STRING); }
    optional int64 label;
}";

fn table(rows: &[(Vec<u8>, i64)]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let levels = |level| vec![level; rows.len()];
    let images: Vec<ByteArray> = rows.iter().map(|(image, _)| image.clone().into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&images, Some(&levels(2)), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[], Some(&levels(1)), None).unwrap();
    column.close().unwrap();
    let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, Some(&levels(1)), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

fn png(pixels: &[u8; 4]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = GrayImage::from_raw(2, 2, pixels.to_vec()).unwrap();
    DynamicImage::ImageLuma8(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn command(server: &Server, cache: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rankle-hub"));
    command.env("HF_ENDPOINT", &server.url).arg("--hub-cache").arg(cache).args(arguments.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program; returns exit code and standard error.
fn run(server: &Server, cache: &Path, arguments: &str, output: &Path) -> (i32, String) {
    let output = command(server, cache, arguments).arg("--output").arg(output).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn gray_images_become_idx_files() {
    let files = Files::from([
        ("/datasets/a/b/x/train-00000-of-00002.parquet".into(), table(&[(png(&[1, 2, 3, 4]), 7)])),
        ("/datasets/a/b/x/train-00001-of-00002.parquet".into(), table(&[(png(&[5, 6, 7, 8]), 9)])),
        ("/datasets/a/b/x/test-00000-of-00001.parquet".into(), table(&[(png(&[9, 9, 9, 9]), 0)])),
        ("/datasets/a/b/README.md".into(), b"train-".to_vec()),
    ]);
    let (server, folder) = (Server::new(hub(files)), tempfile::tempdir().unwrap());
    let (cache, output) = (folder.path().join("cache"), folder.path().join("idx"));
    assert_eq!(run(&server, &cache, "idx a/b", &output), (0, String::new()));
    let read = |name: &str| fs::read(output.join(name)).unwrap();
    let images = [[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(read("train-images-idx3-ubyte"), images[..24]);
    assert_eq!(read("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 2, 7, 9]);
    assert_eq!(read("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 0]);

    server.asked();
    assert_eq!(run(&server, &cache, "--offline idx a/b", &folder.path().join("again")), (0, String::new()));
    assert!(server.asked().is_empty());
    let (code, says) = run(&server, &cache, "idx a/c", &output);
    assert_eq!(code, 1);
    assert!(says.contains("has no Parquet files of a split 'train'"), "{says}");
}

#[test]
fn photographs_become_folders() {
    let jpeg = |n: u8| vec![0xFF, 0xD8, 0xFF, n];
    let files = Files::from([
        ("/datasets/a/b/data/train-0.parquet".into(), table(&[(jpeg(1), 1), (png(&[0; 4]), 0), (jpeg(3), 1)])),
        ("/datasets/a/b/data/test-0.parquet".into(), table(&[(jpeg(4), 0)])),
    ]);
    let (server, folder) = (Server::new(hub(files)), tempfile::tempdir().unwrap());
    let (cache, output) = (folder.path().join("cache"), folder.path().join("cars"));
    let photos = |classes: u32, images: u32| {
        let arguments = format!("photos a/b --split train:cars_train:{images} --split test:cars_test:1 --classes {classes}");
        run(&server, &cache, &arguments, &output)
    };
    for (classes, images, says) in [(1, 3, "has label 1, expected one below 1"), (2, 4, "have 3 images, expected 4")] {
        let (code, message) = photos(classes, images);
        assert!(code == 1 && message.contains(says), "{message}");
        assert!(!output.exists() && fs::read_dir(folder.path()).unwrap().count() == 1);
    }
    assert_eq!(photos(2, 3), (0, String::new()));
    for (path, content) in
        [("cars_train/002/00001.jpg", jpeg(1)), ("cars_train/001/00002.png", png(&[0; 4])), ("cars_test/001/00001.jpg", jpeg(4))]
    {
        assert_eq!(fs::read(output.join(path)).unwrap(), content, "{path}");
    }
}

#[test]
fn tables_of_something_else_are_refused() {
    let bad = [table(&[(b"no image".to_vec(), 0)]), table(&[(png(&[0; 4]), 256)]), b"PAR1 but no more".repeat(20)];
    let says = ["has an entry that is not an image", "has label 256", "is damaged or no Parquet file"];
    for (table, says) in bad.into_iter().zip(says) {
        let files = ["train", "test"].map(|split| (format!("/datasets/a/b/{split}-0.parquet"), table.clone()));
        let (server, folder) = (Server::new(hub(Files::from(files))), tempfile::tempdir().unwrap());
        let (code, message) = run(&server, &folder.path().join("cache"), "idx a/b", &folder.path().join("idx"));
        assert!(code == 1 && message.contains(says) && message.trim().lines().count() == 1, "{message}");
    }
}

fn archive() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("Products/Ebay_test.txt", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(b"image_id").unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn archives_are_unpacked_and_hashes_that_nobody_published_remembered() {
    let content = archive();
    let body = content.clone();
    let server = Server::new(move |request| Reply::file(request, &body));
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("set/SHA256SUMS");
    let output = |name: &str| folder.path().join("set").join(name);
    let fetch = |more: &str, name: &str| {
        let rest = "--landmark Ebay_test.txt --most-entries 10 --most-bytes 100000";
        let arguments = format!("archive --url {}/a.zip {rest} --lock {} {more}", server.url, lock.display());
        run(&server, folder.path(), &arguments, &output(name))
    };
    let hash = sha256(&content);
    let (code, says) = fetch("", "one");
    assert!(code == 0 && says.contains(&format!("its SHA-256 {hash} is written to")), "{says}");
    assert_eq!(fs::read(output("one").join("Ebay_test.txt")).unwrap(), b"image_id");
    assert_eq!(fs::read_to_string(&lock).unwrap(), format!("{hash}  {}/a.zip\n", server.url));
    let (code, says) = fetch("", "two");
    assert!(code == 0 && says.contains("is the archive downloaded before"), "{says}");
    let (code, says) = fetch(&format!("--sha256 {hash} --bytes {}", content.len()), "three");
    assert!(code == 0 && says.contains("is the published archive"), "{says}");
    let (code, says) = fetch(&format!("--published {hash}"), "three-more");
    assert!(code == 0 && says.contains("is the published archive"), "{says}");
    let (code, says) = fetch(&format!("--sha256 {}", "0".repeat(64)), "four");
    assert!(code == 1 && says.contains("it is damaged or another file"), "{says}");

    let mut other = content.clone();
    other.push(0);
    server.becomes(move |request| Reply::file(request, &other));
    let (code, says) = fetch("", "five");
    assert!(code == 1 && says.contains(&hash), "{says}");
    let (code, says) = fetch("--offline", "six");
    assert!(code == 1 && says.contains("--offline forbids"), "{says}");
    assert!(!output("four").exists() && !output("five").exists());
    // Only the lock file and the unpacked folders.
    assert_eq!(fs::read_dir(folder.path().join("set")).unwrap().count(), 5);

    let file = folder.path().join("local.zip");
    fs::write(&file, &content).unwrap();
    let rest = "--landmark Ebay_test.txt --most-entries 10 --most-bytes 100000";
    for (published, says, name) in
        [(&hash, "is the published archive", "seven"), (&"0".repeat(64), "is not a published archive", "eight")]
    {
        let file = file.display();
        let arguments = format!("archive --file {file} {rest} --published {published} --lock {}", lock.display());
        let (code, message) = run(&server, folder.path(), &arguments, &output(name));
        assert!(code == 0 && message.contains(says), "{message}");
    }
    assert!(file.exists() && fs::read_to_string(&lock).unwrap().lines().count() == 1);
}

/// First line that a running process writes to standard error.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

/// Waits until the server has received a request that begins with `start`.
fn asked(server: &Server, start: &str) {
    let mut all = Vec::new();
    for _ in 0..600 {
        all.extend(server.asked());
        if all.iter().any(|line| line.starts_with(start)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{start} in {all:?}");
}

#[test]
fn a_killed_process_is_not_waited_for_any_longer() {
    let content = noise(20_000);
    let files = Files::from([("/a/b/x.bin".into(), content.clone())]);
    let whole = hub(files.clone());
    let server = Server::new(move |request| whole(request).trickling());
    let cache = tempfile::tempdir().unwrap();
    let start = || command(&server, cache.path(), "file hf:a/b/x.bin").spawn().unwrap();
    let mut first = start();
    asked(&server, "GET /elsewhere");
    server.becomes(hub(files));
    let mut second = start();
    assert_eq!(first_line(&mut second), format!("waiting for process {}, which is fetching x.bin of a/b\n", first.id()));
    first.kill().unwrap();
    first.wait().unwrap();
    let output = second.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(String::from_utf8(output.stdout).unwrap().trim()).unwrap(), content);
}

#[test]
fn of_two_that_want_one_folder_the_second_takes_what_the_first_made() {
    let content = archive();
    let server = Server::new(move |request| Reply::file(request, &content).trickling());
    let folder = tempfile::tempdir().unwrap();
    let (lock, output) = (folder.path().join("SHA256SUMS"), folder.path().join("set"));
    let rest = "--landmark Ebay_test.txt --most-entries 10 --most-bytes 100000";
    let arguments = format!("archive --url {}/a.zip {rest} --lock {}", server.url, lock.display());
    let start = || command(&server, folder.path(), &arguments).arg("--output").arg(&output).spawn().unwrap();
    let first = start();
    asked(&server, "GET");
    let mut second = start();
    let line = first_line(&mut second);
    assert_eq!(line, format!("waiting for process {}, which is fetching {}\n", first.id(), output.display()));
    for child in [first, second] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(server.asked(), [""; 0], "it was asked for again");
    assert!(output.join("Ebay_test.txt").is_file());
    // The folder and the recorded hash are left, but no lock, no archive and no partial download.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_damaged_archive_is_not_found_again() {
    let damaged = archive()[..50].to_vec();
    let server = Server::new(move |request| Reply::file(request, &damaged).with("ETag", "\"one\""));
    let folder = tempfile::tempdir().unwrap();
    let (lock, output) = (folder.path().join("SHA256SUMS"), folder.path().join("set"));
    let rest = "--landmark Ebay_test.txt --most-entries 10 --most-bytes 100000";
    let arguments = format!("archive --url {}/a.zip {rest} --lock {}", server.url, lock.display());
    for _ in 0..2 {
        let (code, says) = run(&server, folder.path(), &arguments, &output);
        assert!(code == 1 && says.contains("nothing was unpacked"), "{says}");
        assert_eq!(server.asked(), ["HEAD /a.zip", "GET /a.zip"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_line_that_is_too_slow_ends_with_one_line() {
    let whole = hub(Files::from([("/a/b/x.bin".into(), noise(20_000))]));
    let server = Server::new(move |request| whole(request).trickling());
    let cache = tempfile::tempdir().unwrap();
    let output = command(&server, cache.path(), "--max-time 1 file hf:a/b/x.bin").output().unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && says.lines().count() == 1 && says.contains("--max-time allows more"), "{says}");
    let help = command(&server, cache.path(), "--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("--max-time <SECONDS>"));
}

#[test]
fn wrong_arguments_end_with_two() {
    let server = Server::new(|_| Reply::status(404));
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        "archive --landmark x --most-entries 1 --most-bytes 1 --lock l",
        "idx",
        "photos a/b --classes 3",
        "nonsense",
        "--max-time 0 idx a/b",
    ] {
        assert_eq!(run(&server, folder.path(), arguments, &folder.path().join("out")).0, 2, "{arguments}");
    }
}

//! Program that `cargo xtask fetch` runs. It downloads, checks and unpacks files, and knows no dataset by name.

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rankle_cli::{answer, say};
use rankle_hub::{Access, Download, Error, Home, Hub, Kind, Limits, Lock, Part, Reference, Repository, Watcher, telling};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Download weights, datasets and archives, check their hashes, and unpack them.
///
/// Exit codes: 0 success; 1 a problem with a file, the network or the machine; 2 wrong arguments; 130 interrupted.
#[derive(Parser)]
#[command(name = "rankle-hub", version, max_term_width = 120)]
struct Arguments {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    File(FileCommand),
    Idx(IdxCommand),
    Photos(PhotosCommand),
    Archive(ArchiveCommand),
}

/// Download one file of a model on the Hugging Face hub into its cache, and print the path.
#[derive(Args)]
struct FileCommand {
    /// File to download, hf:OWNER/REPO[@REVISION][/FILE]; when left out, REVISION is main and FILE is model.safetensors
    reference: Reference,
}

/// Dataset on the hub.
#[derive(Args)]
struct TableArguments {
    /// Dataset on the Hugging Face hub, OWNER/REPO
    repository: String,
    /// Branch, tag or commit of the dataset
    #[arg(long, default_value = Repository::MAIN)]
    revision: String,
}

/// Download a dataset of gray images, and write its splits train and test in MNIST's format, as four IDX files with its names.
#[derive(Args)]
struct IdxCommand {
    #[command(flatten)]
    table: TableArguments,
    /// Folder for the four files
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Download a dataset of photographs, and write each image to a file, in one folder per class.
#[derive(Args)]
struct PhotosCommand {
    #[command(flatten)]
    table: TableArguments,
    /// Split of the dataset such as train, the folder for it inside --output, and the number of its images; once for each split
    #[arg(long = "split", value_name = "SPLIT:FOLDER:IMAGES", required = true)]
    splits: Vec<String>,
    /// Number of classes of the dataset
    #[arg(long, value_name = "N")]
    classes: usize,
    /// Folder to create; if it exists, nothing is done
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Download an archive (zip or tar.gz), check its hash, and unpack one folder of it.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("from").required(true).args(["url", "file"]))]
struct ArchiveCommand {
    /// Address of the archive
    #[arg(long)]
    url: Option<String>,
    /// Archive on this machine, to unpack instead of a download; its hash is reported, not enforced
    #[arg(long)]
    file: Option<PathBuf>,
    /// Length in bytes that the download must have
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// SHA-256 that the download must have; when left out, the one recorded in the --lock file, if any
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
    /// SHA-256 of the published archive, to report whether the download is that one; another archive is accepted, too
    #[arg(long, value_name = "HASH", conflicts_with = "sha256")]
    published: Option<String>,
    /// File that records the SHA-256 of downloads without a known one, in the format of `sha256sum`; later downloads must match
    #[arg(long, value_name = "FILE")]
    lock: PathBuf,
    /// Name of a file or folder directly in the wanted folder, by which that folder is found in the archive
    #[arg(long, value_name = "NAME")]
    landmark: String,
    /// Largest allowed number of files and folders in the archive
    #[arg(long, value_name = "N")]
    most_entries: usize,
    /// Largest allowed size in bytes, of the download and of the unpacked files
    #[arg(long, value_name = "N")]
    most_bytes: u64,
    /// Folder to create; if it already contains NAME of --landmark, nothing is done
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let Arguments { access, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(rankle_cli::refuse(&error)),
    };
    let outcome = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).context("cannot watch for Ctrl-C");
    let outcome = outcome.and_then(|()| match command {
        Command::File(command) => command.run(&access),
        Command::Idx(command) => command.run(&access),
        Command::Photos(command) => command.run(&access),
        Command::Archive(command) => command.run(&access),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(rankle_cli::line(&error));
            let interrupted = matches!(error.downcast_ref(), Some(Error::Interrupted));
            ExitCode::from(if interrupted { 130 } else { rankle_cli::code(&error) })
        }
    }
}

/// Watcher with a progress bar on a terminal, lines for the user, and interruption by Ctrl-C.
fn watch(what: &str) -> impl Watcher {
    let style = "{msg}  {bar:30} {percent:>3} %  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let unknown = "{msg}  {bytes}, {bytes_per_sec}";
    let [style, unknown] = [style, unknown].map(|text| ProgressStyle::with_template(text).expect("the template is valid"));
    let bar = ProgressBar::no_length().with_message(what.to_owned()).with_style(unknown);
    let lines = bar.clone();
    let moved = move |done: u64, total: Option<u64>| {
        if let Some(total) = total
            && bar.length() != Some(total)
        {
            bar.set_style(style.clone());
            bar.set_length(total);
        }
        bar.set_position(done);
        if INTERRUPTED.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    telling(moved, move |line: &str| lines.suspend(|| say(line)))
}

/// Takes the lock for creating `output`; `None` if it exists, perhaps created by another process during the wait.
fn turn(output: &Path, landmark: &str) -> Result<Option<Lock>> {
    let mut watch = watch("waiting");
    let lock = Lock::beside(output, &mut watch)?;
    if output.join(landmark).exists() {
        watch.tell(&format!("{} is there already; to get it again, remove it", output.display()));
        return Ok(None);
    }
    Ok(Some(lock))
}

impl FileCommand {
    fn run(self, access: &Access) -> Result<()> {
        let Reference { repository, file } = &self.reference;
        let path = Hub::new(access)?.file(repository, file, None, &mut watch(file))?;
        answer(path.display())?;
        Ok(())
    }
}

impl TableArguments {
    /// Parquet files of some splits, in the cache. Their names start with the name of the split.
    fn files<'a>(&self, access: &Access, splits: impl IntoIterator<Item = &'a str>) -> Result<Vec<Vec<PathBuf>>> {
        let hub = Hub::new(access)?;
        let repository = Repository::new(Kind::Dataset, &self.repository, &self.revision)?;
        let names = hub.files(&repository)?;
        let of_split = |split: &str| -> Result<Vec<PathBuf>> {
            let belongs = |name: &&String| {
                let file = name.rsplit('/').next().unwrap_or(name);
                file.ends_with(".parquet") && file.strip_prefix(split).is_some_and(|rest| rest.starts_with(['-', '.']))
            };
            let names: Vec<&String> = names.iter().filter(belongs).collect();
            ensure!(!names.is_empty(), "{repository} has no Parquet files of a split '{split}'");
            names.into_iter().map(|name| Ok(hub.file(&repository, name, None, &mut watch(name))?)).collect()
        };
        splits.into_iter().map(of_split).collect()
    }
}

impl IdxCommand {
    fn run(self, access: &Access) -> Result<()> {
        let splits = self.table.files(access, ["train", "test"])?;
        fs::create_dir_all(&self.output).with_context(|| format!("cannot write {}", self.output.display()))?;
        for (files, name) in splits.iter().zip(["train", "t10k"]) {
            let path = |what: &str| self.output.join(format!("{name}-{what}-ubyte"));
            rankle_hub::idx(files, &path("images-idx3"), &path("labels-idx1"), &mut watch(name))?;
        }
        Ok(())
    }
}

impl PhotosCommand {
    fn run(self, access: &Access) -> Result<()> {
        let splits = self.splits.iter().map(|text| parse_split(text)).collect::<Result<Vec<_>>>()?;
        let Some(_lock) = turn(&self.output, "")? else { return Ok(()) };
        let files = self.table.files(access, splits.iter().map(|split| split.0))?;
        let part = |((_, folder, images), files)| Part { files, folder: String::from(folder), images };
        let parts: Vec<Part> = splits.into_iter().zip(files).map(part).collect();
        Ok(rankle_hub::photos(&parts, self.classes, &self.output, &mut watch("images"))?)
    }
}

fn parse_split(text: &str) -> Result<(&str, &str, usize)> {
    let parts: Vec<&str> = text.split(':').collect();
    let &[split, folder, images] = parts.as_slice() else { bail!("--split {text}: write SPLIT:FOLDER:IMAGES") };
    Ok((split, folder, images.parse().with_context(|| format!("--split {text}: {images} is no number"))?))
}

impl ArchiveCommand {
    fn run(self, access: &Access) -> Result<()> {
        let Some(_lock) = turn(&self.output, &self.landmark)? else { return Ok(()) };
        let limits = Limits { entries: self.most_entries, bytes: self.most_bytes };
        let unpack = |archive: &Path| rankle_hub::unpack(archive, &self.output, &self.landmark, limits, &mut watch("unpacked"));
        let (download, url) = match (&self.file, &self.url) {
            (Some(archive), _) => {
                let hash = rankle_hub::sha256(archive, &mut watch("read"))?;
                match self.sha256.as_ref().or(self.published.as_ref()) {
                    Some(published) if *published == hash => say(format_args!("{} is the published archive", archive.display())),
                    _ => say(format_args!("{} is not a published archive (SHA-256 {hash})", archive.display())),
                }
                return Ok(unpack(archive)?);
            }
            (None, Some(url)) if access.offline => bail!("--offline forbids to download {url}"),
            (None, Some(url)) => (self.download(url, access)?, url),
            (None, None) => bail!("--url or --file is needed"),
        };
        let archive = &download.path;
        let unpacked = unpack(archive);
        // A damaged archive must go, or the next run would find it again. After an interruption or on a full disk it is kept.
        if matches!(unpacked, Ok(()) | Err(Error::Archive { .. })) {
            fs::remove_file(archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        }
        unpacked.with_context(|| format!("the archive from {url}"))
    }

    fn download(&self, url: &str, access: &Access) -> Result<Download> {
        let locked = self.locked(url)?;
        let sha256 = self.sha256.as_deref().or(locked.as_deref());
        let home = Home { url, bytes: self.bytes, sha256, limit: self.most_bytes };
        let download = home.download(rankle_files::folder_of(&self.lock), access, &mut watch("downloaded"))?;
        self.judge(url, &download.sha256)?;
        Ok(download)
    }

    /// Checks the hash of a download, and reports the result. The hash of an unknown archive is recorded in the lock file.
    fn judge(&self, what: &str, hash: &str) -> Result<()> {
        if [&self.sha256, &self.published].into_iter().flatten().any(|published| published == hash) {
            say(format_args!("{what} is the published archive (SHA-256 {hash})"));
            return Ok(());
        }
        match (&self.sha256, self.locked(what)?) {
            (Some(published), _) => bail!("{what} has SHA-256 {hash}, expected {published}: it is damaged or another file"),
            (None, Some(locked)) if locked == hash => {
                say(format_args!("{what} is the archive downloaded before (SHA-256 {hash})"))
            }
            (None, Some(locked)) => {
                bail!(
                    "{what} has SHA-256 {hash}, before it had {locked}: delete its line from {} if the change is expected",
                    self.lock.display()
                )
            }
            (None, None) => {
                let refused = || format!("cannot write {}", self.lock.display());
                let mut text = fs::read_to_string(&self.lock).unwrap_or_default();
                text += &format!("{hash}  {what}\n");
                fs::create_dir_all(rankle_files::folder_of(&self.lock)).with_context(refused)?;
                rankle_files::write(&self.lock, text).with_context(refused)?;
                let lock = self.lock.display();
                say(format_args!(
                    "no hash is published for {what}: its SHA-256 {hash} is written to {lock}, and the next time it must be the same"
                ));
            }
        }
        Ok(())
    }

    /// Hash of an earlier download in the lock file; `None` if it has none.
    fn locked(&self, what: &str) -> Result<Option<String>> {
        if !self.lock.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&self.lock).with_context(|| format!("cannot read {}", self.lock.display()))?;
        let entry = text.lines().find_map(|line| line.strip_suffix(what)?.strip_suffix("  "));
        Ok(entry.map(str::to_owned))
    }
}

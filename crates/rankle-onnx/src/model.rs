//! A file's graph as a model.

use crate::differentiable as d;
use crate::external::Folder;
use crate::graph::{Graph, line};
use crate::hint;
use crate::options::{Layout, Options, Pool};
use crate::program::{LIMIT, Program};
use candle_core::{DType, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Differentiable, Distance, Embedder, Error, InputSpec, Place, Result, Upstream, upstream_gradient};
use rankle_ops::{Pieces, global_avg_pool, normalize_pixels};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file that is read: protobuf has no larger ones. Larger models have their constants in files beside it.
const LARGEST_FILE: u64 = 2 << 30;

/// Most images of a batch whose size the file declares.
const LARGEST_BATCH: usize = 4096;

/// Batch sizes whose programs are kept.
const PROGRAMS: usize = 4;

/// A model from an ONNX file: a white box.
///
/// With [`Place::Kernels`] each image passes through the graph alone, several in parallel, so that no result depends on the batch or
/// the number of threads. With [`Place::Tensors`] a batch passes as a whole, on the device; results then differ by rounding between
/// batches. A graph for batches of one size gets batches of this size, the last one filled up.
pub struct OnnxModel {
    graph: Graph,
    input: InputSpec,
    layout: Layout,
    /// Mean and standard deviation of each channel.
    normalization: Option<[Vec<f32>; 2]>,
    pool: Option<Pool>,
    /// Size of all batches, if the graph takes no other.
    batch: Option<usize>,
    embedding_size: usize,
    distance: Distance,
    place: Place,
    hint: Option<String>,
    in_several_files: bool,
    /// By batch size, the last used one at the end.
    programs: Mutex<Vec<(usize, Arc<Program>)>>,
}

impl OnnxModel {
    /// Reads a file and prepares its graph on the device of `place`.
    ///
    /// # Errors
    /// [`Error::Refused`], one line that names the file and what is wrong with it, its options or its graph.
    pub fn load(file: &Path, options: &Options, distance: Distance, place: &Place) -> Result<Self> {
        let refused = |what: String| Error::Refused(format!("{}: {what}", file.display()));
        let bytes =
            rankle_files::read_limited(file, LARGEST_FILE).map_err(|error| refused(format!("cannot be read ({error})")))?;
        let folder = Folder::of(file);
        let graph = Graph::read(&bytes, &folder, options.output.as_deref(), place.device());
        drop(bytes);
        let graph = graph.map_err(|error| refused(line(&error)))?;
        let model = Self::new(graph, options, distance, place).map_err(|error| refused(line(&error)))?;
        Ok(Self { in_several_files: folder.is_used(), ..model })
    }

    fn new(graph: Graph, options: &Options, distance: Distance, place: &Place) -> candle_core::Result<Self> {
        let dims = dims(&graph)?;
        let (layout, shape) = shape(dims, options)?;
        bounded(dims[0].unwrap_or(1), shape)?;
        let mut model = Self {
            input: InputSpec { shape, resize: options.resize, edge: options.edge, filter: options.filter },
            layout,
            normalization: normalization(options, shape.0)?,
            pool: options.pool,
            batch: dims[0],
            graph,
            embedding_size: 0,
            distance,
            place: place.clone(),
            hint: None,
            in_several_files: false,
            programs: Mutex::default(),
        };
        let batch = model.batch.unwrap_or(1);
        let program = model.program(batch)?;
        let (c, h, w) = shape;
        let images = pattern((batch, c, h, w), place)?;
        let output = model.output(&program, &images)?;
        model.embedding_size = match *output.dims() {
            // (n, d), or with further dimensions of 1.
            [n, ref rest @ ..]
                if n == batch
                    && output.elem_count() > 0
                    && rest.iter().filter(|&&len| len > 1).count() <= 1
                    && !rest.is_empty() =>
            {
                rest.iter().product()
            }
            _ => {
                let (name, dims) = (&model.graph.names[model.graph.output], output.dims());
                candle_core::bail!(
                    "'{name}' has shape {dims:?} for {batch} images, where (n, d) is needed: say output=NAME of another result, or \
                     pool=mean or pool=first, which make an embedding of a map (n, d, height, width) or of tokens (n, tokens, d)"
                )
            }
        };
        if batch > 1 && model.mixes(&program, &images)? {
            candle_core::bail!("the embedding of an image depends on the {} beside it: export it for batches of one", batch - 1)
        }
        // A graph may take batches of any size by its word and of one by its nodes.
        if matches!(place, Place::Tensors(_)) && model.batch.is_none() {
            let two = model.program(2).and_then(|program| model.mixes(&program, &pattern((2, c, h, w), place)?));
            if !matches!(two, Ok(false)) {
                model.batch = Some(1);
            }
        }
        if options.output.is_none() {
            model.hint = hint::before_scores(&model.graph, model.embedding_size);
        }
        Ok(model)
    }

    /// Dimension of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size
    }

    /// Name of the result that is the embedding.
    pub fn output_name(&self) -> &str {
        &self.graph.names[self.graph.output]
    }

    /// What to tell the user of a model whose output looks like the scores of a classifier, in one line.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// True if some constants are in other files beside the model's own, whose hash does not tell them.
    pub fn is_in_several_files(&self) -> bool {
        self.in_several_files
    }

    /// The program for batches of a size, made on the first use.
    fn program(&self, batch: usize) -> candle_core::Result<Arc<Program>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match programs.iter().position(|(size, _)| *size == batch) {
            Some(at) => programs.remove(at),
            None => {
                let (c, h, w) = self.input.shape;
                let dims = match self.layout {
                    Layout::Nchw => [batch, c, h, w],
                    Layout::Nhwc => [batch, h, w, c],
                };
                let program = Program::new(&self.graph, &Tensor::zeros(&dims, DType::F32, self.place.device())?);
                let program = crate::graph::in_context(|| format!("images of {c} x {h} x {w}"), program)?;
                (batch, Arc::new(program))
            }
        };
        let program = Arc::clone(&found.1);
        programs.push(found);
        if programs.len() > PROGRAMS {
            programs.remove(0);
        }
        Ok(program)
    }

    /// The output of the graph for images `(n, c, h, w)`.
    fn output(&self, program: &Program, images: &Tensor) -> candle_core::Result<Tensor> {
        let mut images = images.clone();
        if let Some([mean, std]) = &self.normalization {
            images = normalize_pixels(&images, mean, std)?;
        }
        if self.layout == Layout::Nhwc {
            images = d::permute(&images, &[0, 2, 3, 1])?;
        }
        self.pooled(&program.run(&images)?)
    }

    /// The embeddings of an output that has several vectors for an image.
    fn pooled(&self, output: &Tensor) -> candle_core::Result<Tensor> {
        let Some(pool) = self.pool else { return Ok(output.clone()) };
        match (pool, output.dims()) {
            (Pool::Mean, [_, _, _, _]) if self.layout == Layout::Nhwc => global_avg_pool(&d::permute(output, &[0, 3, 1, 2])?),
            (Pool::Mean, [_, _, _, _]) => global_avg_pool(output),
            (Pool::Mean, &[n, tokens, size]) if tokens > 0 => {
                let sums = d::sum_last(&d::permute(output, &[0, 2, 1])?)?;
                d::reshape(&d::scale(&sums, 1.0 / tokens as f64)?, &[n, size])
            }
            (Pool::First, &[n, tokens, size]) if tokens > 0 => d::reshape(&d::narrow(output, 1, 0, 1)?, &[n, size]),
            _ => candle_core::bail!(
                "'{}' has shape {:?}: pool=mean takes (n, d, height, width) or (n, tokens, d), pool=first (n, tokens, d)",
                self.graph.names[self.graph.output],
                output.shape()
            ),
        }
    }

    /// Embeddings of a batch of the size that the program is for.
    fn forward(&self, program: &Program, images: &Tensor) -> candle_core::Result<Tensor> {
        let output = self.output(program, images)?;
        d::reshape(&output, &[images.dims()[0], self.embedding_size])
    }

    /// True if the embedding of the first image changes with those beside it, by more than rounding.
    fn mixes(&self, program: &Program, images: &Tensor) -> candle_core::Result<bool> {
        let first = |images: &Tensor| self.forward(program, images)?.get(0)?.to_vec1::<f32>();
        let (beside_others, beside_zeros) =
            (first(images)?, first(&images.narrow(0, 0, 1)?.pad_with_zeros(0, 0, images.dims()[0] - 1)?)?);
        let largest = beside_zeros.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        Ok(beside_others.iter().zip(&beside_zeros).any(|(a, b)| (a - b).abs() > 1e-4 * largest))
    }

    /// Checks a batch, and copies it to the device. With [`Place::Kernels`] all pixels must be finite.
    fn prepared(&self, images: &Tensor) -> Result<Tensor> {
        let (c, h, w) = self.input.shape;
        if !matches!(images.dims(), &[_, channels, height, width] if (channels, height, width) == (c, h, w)) {
            let expected = format!("(n, {c}, {h}, {w})");
            return Err(Error::Shape { what: "a batch of images", actual: images.dims().to_vec(), expected });
        }
        let images = images.detach().to_device(self.place.device())?.to_dtype(DType::F32)?.contiguous()?;
        if matches!(self.place, Place::Kernels) && !numbers(&images)?.iter().all(|pixel| pixel.is_finite()) {
            return Err(Error::NotFinite("a batch of images".into()));
        }
        Ok(images)
    }

    /// How `n` images pass, and the program for a piece of them.
    fn pieces(&self, n: usize) -> Result<(Pieces, Arc<Program>)> {
        let parallel = matches!(self.place, Place::Kernels);
        let size = self.batch.unwrap_or(if parallel { 1 } else { n });
        Ok((Pieces { size, parallel }, self.program(size)?))
    }
}

/// Images to try a graph with, all different: multiples of the golden ratio, without their integers.
fn pattern((n, c, h, w): (usize, usize, usize, usize), place: &Place) -> candle_core::Result<Tensor> {
    let pixels = (0..n * c * h * w).map(|at| (at as f64 * 0.618_033_988_749_895).fract() as f32);
    Tensor::from_vec(pixels.collect(), (n, c, h, w), place.device())
}

impl Embedder for OnnxModel {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let images = self.prepared(images)?;
        let n = images.dims()[0];
        if n == 0 {
            return Ok(Tensor::zeros((0, self.embedding_size), DType::F32, self.place.device())?);
        }
        let (pieces, program) = self.pieces(n)?;
        Ok(pieces.forward(&images, |images| self.forward(&program, images))?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        self.input
    }

    fn place(&self) -> Place {
        self.place.clone()
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for OnnxModel {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let images = self.prepared(images)?;
        let n = images.dims()[0];
        if n == 0 {
            return Ok(images);
        }
        let (pieces, program) = self.pieces(n)?;
        let upstream = |embeddings: &Tensor| upstream_gradient(embeddings, upstream);
        pieces.input_gradient(&images, |images| self.forward(&program, images), upstream)?.ok_or(Error::NoGradient)
    }
}

/// Lengths of the dimensions of the images, `None` for one that is open.
fn dims(graph: &Graph) -> candle_core::Result<[Option<usize>; 4]> {
    match graph.input_dims.as_deref() {
        None => Ok([None; 4]),
        Some(&[n, first, second, third]) => Ok([n, first, second, third]),
        Some(dims) => {
            let (name, rank) = (&graph.names[graph.input], dims.len());
            candle_core::bail!("input '{name}' has {rank} dimensions, where images have four: (n, channels, height, width)")
        }
    }
}

/// Layout, channels, height and width of the images.
fn shape(dims: [Option<usize>; 4], options: &Options) -> candle_core::Result<(Layout, (usize, usize, usize))> {
    let [_, first, second, third] = dims;
    let is_color = |len: Option<usize>| matches!(len, Some(1 | 3));
    let layout = options.layout.unwrap_or(match is_color(third) && !is_color(first) {
        true => Layout::Nhwc,
        false => Layout::Nchw,
    });
    let (channels, height, width) = match layout {
        Layout::Nchw => (first, second, third),
        Layout::Nhwc => (third, first, second),
    };
    let side = |len: Option<usize>, what: &str| match (len, options.size) {
        (Some(len), Some(size)) if len != size => candle_core::bail!("size={size}, but the graph takes images of {what} {len}"),
        (Some(len), _) => Ok(len),
        (None, Some(size)) => Ok(size),
        (None, None) => candle_core::bail!("the graph takes images of any {what}: say size=N, the side in pixels"),
    };
    // A graph that leaves its channels open takes color images.
    Ok((layout, (channels.unwrap_or(3), side(height, "height")?, side(width, "width")?)))
}

/// Refuses batches for which there is no room.
fn bounded(batch: usize, (c, h, w): (usize, usize, usize)) -> candle_core::Result<()> {
    if batch > LARGEST_BATCH {
        candle_core::bail!("the graph takes batches of {batch} images, where {LARGEST_BATCH} are the most: export it for one")
    }
    let count = [c, h, w].iter().try_fold(batch, |count, &len| count.checked_mul(len));
    if count.is_none_or(|count| count > LIMIT) {
        candle_core::bail!("the graph takes {batch} x {c} x {h} x {w} pixels, where there is room for {LIMIT}")
    }
    Ok(())
}

/// Mean and standard deviation of each of the channels.
fn normalization(options: &Options, channels: usize) -> candle_core::Result<Option<[Vec<f32>; 2]>> {
    if options.mean.is_none() && options.std.is_none() {
        return Ok(None);
    }
    let each = |name: &str, given: &Option<Vec<f32>>, default: f32| match given.as_deref() {
        None => Ok(vec![default; channels]),
        Some(&[one]) => Ok(vec![one; channels]),
        Some(several) if several.len() == channels => Ok(several.to_vec()),
        Some(several) => candle_core::bail!("{} numbers in {name}, for {channels} channels", several.len()),
    };
    Ok(Some([each("mean", &options.mean, 0.0)?, each("std", &options.std, 1.0)?]))
}

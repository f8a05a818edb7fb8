//! Sums of listed, weighted rows of a table: the step that input and weight gradients share.

use crate::simd::Vector;

/// Adds listed rows: `row[..] += Σ_i values[i] * table[places[i]..]`, ten registers at a time.
///
/// # Safety
/// `table` has `row.len()` numbers from every entry of `places` on, and `row.len()` is a multiple of `V::LANES`.
#[inline(always)]
pub(crate) unsafe fn add_rows<V: Vector>(row: &mut [f32], values: &[f32], places: &[u32], table: &[f32]) {
    debug_assert!(row.len().is_multiple_of(V::LANES) && places.iter().all(|&place| place as usize + row.len() <= table.len()));
    let (len, row, table) = (row.len(), row.as_mut_ptr(), table.as_ptr());
    let mut done = 0;
    while done + 10 * V::LANES <= len {
        // SAFETY: `done + 10 * LANES <= len`, in `row` and in `table` from every entry of `places` on.
        unsafe { add_rows_chunk::<V, 10>(row.add(done), values, places, table.add(done)) };
        done += 10 * V::LANES;
    }
    macro_rules! rest {
        ($($n:literal)*) => {
            match (len - done) / V::LANES {
                // SAFETY: so many registers are left, in `row` and in `table` from every entry of `places` on.
                $($n => unsafe { add_rows_chunk::<V, $n>(row.add(done), values, places, table.add(done)) },)*
                _ => {}
            }
        };
    }
    rest!(1 2 3 4 5 6 7 8 9);
}

/// # Safety
/// N registers can be read and written at `row`, and read in `table` from every entry of `places` on.
#[inline(always)]
unsafe fn add_rows_chunk<V: Vector, const N: usize>(row: *mut f32, values: &[f32], places: &[u32], table: *const f32) {
    let mut sums = [V::splat(0.0); N];
    // SAFETY: the caller's promise.
    unsafe {
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(row.add(n * V::LANES));
        }
        for (&value, &place) in values.iter().zip(places) {
            let (value, source) = (V::splat(value), table.add(place as usize));
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = value.multiply_add(V::load(source.add(n * V::LANES)), *sum);
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            sum.store(row.add(n * V::LANES));
        }
    }
}

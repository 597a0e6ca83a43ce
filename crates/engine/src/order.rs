//! Matches in ascending order.

/// With less than one number in so many, sorting takes less time than looking at a bit for each.
const SPARSE: usize = 256;

/// Puts numbers below `count`, none of them twice, in order. `bits` are 0 before and after.
pub(crate) fn ascend(numbers: &mut [u32], count: usize, bits: &mut Vec<u64>) {
    if numbers.len() < count / SPARSE {
        return numbers.sort_unstable();
    }
    if bits.len() < count.div_ceil(64) {
        bits.resize(count.div_ceil(64), 0);
    }
    for number in &*numbers {
        bits[*number as usize / 64] |= 1 << (number % 64);
    }
    let mut at = 0;
    for (start, bits) in (0..).step_by(64).zip(&mut bits[..count.div_ceil(64)]) {
        let mut left = std::mem::take(bits);
        while left != 0 {
            numbers[at] = start + left.trailing_zeros();
            at += 1;
            left &= left - 1;
        }
    }
}

/// Makes one ascending run of two, of which the second starts at `middle`.
pub(crate) fn interleave(keys: &mut [u32], middle: usize, later: &mut Vec<u32>) {
    if middle == 0 {
        return;
    }
    later.clear();
    later.extend_from_slice(&keys[middle..]);
    let (mut earlier, mut end) = (middle, keys.len());
    while let Some(&key) = later.last() {
        end -= 1;
        if earlier > 0 && keys[earlier - 1] > key {
            earlier -= 1;
            keys[end] = keys[earlier];
        } else {
            keys[end] = key;
            later.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use clickstream_mixes::Random;

    use super::*;

    #[test]
    fn numbers_ascend_however_many_there_are() {
        let mut random = Random::new(3);
        let mut bits = Vec::new();
        for (count, taken) in [
            (0, 0),
            (1, 1),
            (64, 64),
            (65, 60),
            (1_000, 3),
            (9_999, 38),
            (9_999, 39),
            (5_000, 5_000),
        ] {
            let mut numbers: Vec<u32> = (0..count).collect();
            for at in (1..numbers.len()).rev() {
                numbers.swap(at, random.below(at as u64 + 1) as usize);
            }
            numbers.truncate(taken);
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            ascend(&mut numbers, count as usize, &mut bits);
            assert_eq!(numbers, sorted, "{taken} of {count}");
            assert!(bits.iter().all(|bits| *bits == 0));
        }
    }

    #[test]
    fn two_runs_become_one() {
        for (first, second) in [
            (&[][..], &[][..]),
            (&[1, 2], &[]),
            (&[], &[1, 2]),
            (&[1, 2], &[3, 4]),
            (&[3, 4], &[1, 2]),
            (&[1, 4, 6, 9], &[0, 2, 5, 7, 8, 10]),
        ] {
            let mut keys = [first, second].concat();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            interleave(&mut keys, first.len(), &mut Vec::new());
            assert_eq!(keys, sorted);
        }
    }
}

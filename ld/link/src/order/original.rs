//! The sort that glibc had before the depth-first one, and still has for `glibc.rtld.dynamic_sort=1`.
//!
//! Each object moves behind the last one that depends on it, and then it is the next one's turn at that place. In a cycle
//! that would never end: a place is settled once an object came by more often than there are objects behind it. Source:
//! glibc elf/dl-sort-maps.c, `_dl_sort_maps_original`.

use alloc::vec;

/// Sorts a list, dependents before what they depend on; `depends` tells whether the first depends on the second.
pub fn sort(list: &mut [usize], depends: impl Fn(usize, usize) -> bool) {
    // How often each object was looked at, since the last place was settled.
    let mut looks = vec![0usize; list.len()];
    let mut place = 0;
    while place < list.len() {
        looks[place] += 1;
        let object = list[place];
        let last = (place + 1..list.len()).rev().find(|&other| depends(list[other], object));
        if let Some(last) = last {
            list[place..=last].rotate_left(1);
            if looks[place + 1] <= list.len() - place {
                looks[place..=last].rotate_left(1);
                continue;
            }
        }
        place += 1;
        looks[place..].fill(0);
    }
}

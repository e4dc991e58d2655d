//! `_dl_find_object`: a thread looks up addresses while another loads and unloads.

use std::rc::Rc;

use crate::dl::ranges::{Range, Ranges};
use crate::sync::spawn;

const fn range(start: usize) -> Range {
    Range { start, end: start + 10, map: start + 1, eh_frame_header: start + 2 }
}

const BELOW: Range = range(10);
const STAYS: Range = range(30);
const ABOVE: Range = range(50);

/// The object that is asked for stays, while what is loaded beside it comes or goes.
fn look_up_while(before: &[Range], after: &'static [Range]) {
    let ranges = Rc::new(Ranges::<2>::new());
    let _ = format!("{ranges:?}");
    // Twice, as at least two changes have been made when there is a second thread.
    ranges.publish(before);
    ranges.publish(before);
    let writer = {
        let ranges = ranges.clone();
        spawn(2, move || ranges.publish(after))
    };
    assert_eq!(ranges.find(STAYS.start), Some(STAYS));
    writer.join().expect("publishing ends");
    for object in [BELOW, STAYS, ABOVE] {
        assert_eq!(ranges.find(object.start + 5), after.contains(&object).then_some(object));
        assert_eq!(ranges.find(object.end), None);
    }
}

/// An object that is loaded below moves the other's row.
pub fn load_below() {
    look_up_while(&[STAYS], &[BELOW, STAYS]);
}

/// An object goes.
pub fn unload_below() {
    look_up_while(&[BELOW, STAYS], &[STAYS]);
}

/// The table becomes too small.
pub fn outgrow() {
    look_up_while(&[STAYS], &[BELOW, STAYS, ABOVE]);
}

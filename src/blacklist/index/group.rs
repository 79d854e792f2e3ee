//! The control words of a group: what is known of fifteen slots without looking at their keys.
//!
//! Two words are sixteen bytes: one for each slot (empty, buried, or a tag out of the hash of the key that is there), and one
//! whose bits say which keys that belong here had to go further. A lookup ends at the first group whose bit for its key is not
//! set, however full the group is; this is what lets the table be so full.

#![expect(clippy::cast_possible_truncation, reason = "words are taken apart")]

/// The slots of a group.
pub(super) const SLOTS: usize = 15;
/// The control words of a group.
pub(super) const WORDS: usize = 2;

/// A slot that was never used since its group was cleared.
const EMPTY: u8 = 0;
/// A slot whose key was removed. It is not used again: a reader may be looking at it.
const BURIED: u8 = 1;

const LOWS: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = LOWS << 7;
/// The byte of the second word that belongs to no slot.
const OVERFLOW: u32 = 56;

/// What a table needs of the hash of a key: disjoint bits for disjoint purposes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    /// The shard, out of 2 to the power of `bits`.
    #[inline]
    pub(super) fn shard(self, bits: u32) -> usize {
        (self.0 >> 32 >> (32 - bits)) as usize
    }

    /// The group where the search begins: the share of `groups` that the low half is of all that it could be.
    #[inline]
    pub(super) fn home(self, groups: usize) -> usize {
        (((self.0 & 0xffff_ffff) * groups as u64) >> 32) as usize
    }

    #[inline]
    fn tag(self) -> u8 {
        let byte = (self.0 >> 32) as u8;
        byte | u8::from(byte <= BURIED) << 3
    }

    #[inline]
    fn overflow(self) -> u64 {
        1 << OVERFLOW << (self.0 >> 40 & 7)
    }
}

/// The two control words of a group, as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control(pub(super) [u64; WORDS]);

impl Control {
    /// The slots that may hold a key of this hash. Now and then one more, never one less; only slots that hold a key.
    #[inline]
    pub(super) fn candidates(self, hash: Hash) -> Slots {
        self.slots_with(hash.tag())
    }

    /// Whether a key of this hash may be in one of the next groups.
    #[inline]
    pub(super) fn overflowed(self, hash: Hash) -> bool {
        self.0[1] & hash.overflow() != 0
    }

    /// Which word changes, and to what, when a key of this hash has to go further.
    pub(super) fn with_overflow(self, hash: Hash) -> (usize, u64) {
        (1, self.0[1] | hash.overflow())
    }

    /// A slot for a new key.
    pub(super) fn vacant(self) -> Option<usize> {
        self.slots_with(EMPTY).next()
    }

    /// The slots that hold a key.
    pub(super) fn live(self) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |slot| self.byte(*slot) > BURIED)
    }

    /// Which word changes, and to what, when a key of this hash is put into a slot.
    pub(super) fn with_key(self, slot: usize, hash: Hash) -> (usize, u64) {
        self.with_byte(slot, hash.tag())
    }

    /// Which word changes, and to what, when the key of a slot is removed.
    pub(super) fn with_buried(self, slot: usize) -> (usize, u64) {
        self.with_byte(slot, BURIED)
    }

    fn byte(self, slot: usize) -> u8 {
        (self.0[slot / 8] >> (slot % 8 * 8)) as u8
    }

    fn with_byte(self, slot: usize, byte: u8) -> (usize, u64) {
        let shift = slot % 8 * 8;
        (slot / 8, self.0[slot / 8] & !(0xff << shift) | u64::from(byte) << shift)
    }

    /// The lowest slot with this byte, and after it all others, with now and then one whose byte differs in the lowest bit.
    #[inline]
    fn slots_with(self, byte: u8) -> Slots {
        let wanted = u64::from(byte) * LOWS;
        // The highest bit of each byte that is zero.
        let zeros = |word: u64| word.wrapping_sub(LOWS) & !word & HIGHS;
        // Bit 8 i + 7 is slot i, bit 8 i + 3 is slot 8 + i.
        Slots(zeros(self.0[0] ^ wanted) | (zeros(self.0[1] ^ wanted) & (HIGHS >> 8)) >> 4)
    }
}

/// Some of the slots of a group.
#[derive(Debug)]
pub(super) struct Slots(u64);

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit >> 3 | (!bit & 4) << 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash with this tag byte, whose overflow bit is the third.
    fn hash(tag: u8) -> Hash {
        Hash(u64::from(tag) << 32 | 2 << 40)
    }

    #[test]
    fn a_slot_is_found_by_its_tag_in_either_word() {
        for slot in 0..SLOTS {
            let mut control = Control([0; WORDS]);
            let (word, value) = control.with_key(slot, hash(200));
            control.0[word] = value;
            assert_eq!(control.candidates(hash(200)).collect::<Vec<_>>(), [slot]);
            assert_eq!(control.candidates(hash(100)).count(), 0);
            assert_eq!(control.live().collect::<Vec<_>>(), [slot]);
            assert_ne!(control.vacant(), Some(slot));
            let (word, value) = control.with_buried(slot);
            control.0[word] = value;
            assert_eq!((control.candidates(hash(200)).count(), control.live().count()), (0, 0));
            assert_ne!(control.vacant(), Some(slot), "a buried slot is not used again");
        }
    }

    #[test]
    fn a_group_fills_slot_by_slot_and_no_tag_is_taken_for_an_empty_one() {
        for tag in 0..=255 {
            let mut control = Control([0; WORDS]);
            let mut taken = vec![];
            while let Some(slot) = control.vacant() {
                taken.push(slot);
                let (word, value) = control.with_key(slot, hash(tag));
                control.0[word] = value;
            }
            taken.sort_unstable();
            assert_eq!(taken, (0..SLOTS).collect::<Vec<_>>());
            assert_eq!(control.candidates(hash(tag)).count(), SLOTS);
            assert!(!control.overflowed(hash(tag)));
            control.0[1] = control.with_overflow(hash(tag)).1;
            assert!(control.overflowed(hash(tag)) && !control.overflowed(Hash(0)));
            assert_eq!(control.candidates(hash(tag)).count(), SLOTS, "the overflow byte is no slot");
        }
    }

    #[test]
    fn a_candidate_always_holds_a_key() {
        // Every pair of neighbours that could make a borrow run over.
        for low in 0..=255u8 {
            for high in 0..=255u8 {
                let control = Control([u64::from(high) << 8 | u64::from(low), u64::MAX << 56]);
                for tag in [2, 3, 9, 254, 255] {
                    assert!(control.candidates(hash(tag)).all(|slot| control.byte(slot) > BURIED));
                }
            }
        }
    }
}

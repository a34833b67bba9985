#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

/* What there is in a text. */
struct tally {
	size_t lines;
	size_t words;
	size_t bytes;
};

/* Counts `size` bytes at `text` on top of what `tally` holds already. `in_word` carries on from
 * one call to the next; it starts as 0. */
void tally_add(struct tally *tally, const char *text, size_t size, int *in_word);

#endif

#include "tally.h"

#include <ctype.h>

void tally_add(struct tally *tally, const char *text, size_t size, int *in_word)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		tally->lines += c == '\n';
		if (isspace(c)) {
			*in_word = 0;
		} else if (!*in_word) {
			*in_word = 1;
			tally->words++;
		}
	}
	tally->bytes += size;
}

#include "tally.h"

#include <stdio.h>

/* Prints lines, words and bytes of the standard input. */
int main(void)
{
	struct tally tally = {0};
	char buffer[4096];
	size_t size;
	int in_word = 0;

	while ((size = fread(buffer, 1, sizeof buffer, stdin)) > 0)
		tally_add(&tally, buffer, size, &in_word);
	if (ferror(stdin)) {
		perror("tally");
		return 1;
	}
	printf("%zu %zu %zu\n", tally.lines, tally.words, tally.bytes);
	return 0;
}

#include "tally.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void expect(const char *text, size_t lines, size_t words)
{
	struct tally tally = {0};
	int in_word = 0;

	/* One byte at a time: words must not break where buffers do. */
	for (size_t i = 0; i < strlen(text); i++)
		tally_add(&tally, text + i, 1, &in_word);
	if (tally.lines != lines || tally.words != words || tally.bytes != strlen(text)) {
		printf("\"%s\": got %zu lines, %zu words, %zu bytes\n", text, tally.lines,
		       tally.words, tally.bytes);
		failures++;
	}
}

int main(void)
{
	expect("", 0, 0);
	expect("one", 0, 1);
	expect("one two\n", 1, 2);
	expect("  one\ttwo\n\nthree  \n", 3, 3);
	printf("%d failures\n", failures);
	return failures != 0;
}

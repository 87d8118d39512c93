/* nearest.c -- edits counted: insert, drop, replace. */
/* SPDX-License-Identifier: MIT */
#include "nearest.h"
#include <stddef.h>
#include <string.h>

enum { LONGEST = 24 }; /* bytes of a word; no command has more */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int row[LONGEST + 1]; /* of a's beginning to each beginning of b */

    for (size_t j = 0; j <= b_len; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_len; i++) {
        int before = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_len; j++) {
            int replaced = before + (a[i - 1] != b[j - 1]);
            before = row[j];
            row[j] = least(replaced, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[b_len];
}

const char *nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t len = strlen(word);
    int fewest = len < 4 ? 2 : 3; /* as many are too many: most words are as short as "show" */

    for (; len <= LONGEST && *words; words++) {
        size_t other = strlen(*words);
        int edits = other <= LONGEST ? distance(word, len, *words, other) : fewest;
        if (edits < fewest) {
            fewest = edits;
            best = *words;
        }
    }
    return best;
}

/* nearest.h -- the known word that a misspelt one was meant to be. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* The one of words, which a NULL ends, that few edits make of word; NULL: none is near. */
const char *nearest(const char *word, const char *const *words);

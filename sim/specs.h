/* specs.h -- the specs of policies: found in folders, run one file after the other.
 *
 * Each file has a simulated world of its own: from its beginning to its end the process's clock
 * is virtual and its log captured. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

struct sources;

struct specs { /* all zero is empty */
    char **paths;
    size_t count;
};

struct specs_counts { /* of tests */
    int passed, failed, pending;
};

/* Adds a file, or every *_spec.lua below a folder, in order; false when nothing is at path. */
bool specs_find(struct specs *specs, const char *path);
void specs_fini(struct specs *specs);

/* Runs a file, whose weir.lua is in that folder (with its slash, or ""); what weir test prints is
 * appended to out.  verbose: "", or not. */
void specs_run(const char *path, const char *folder, const char *verbose,
               struct specs_counts *counts, struct buf *out);

/* Runs a file as a proof of the configuration at config_path: all is read through sources, which
 * are borrowed, and each test that fails is a line in problems. */
void specs_prove(const char *path, const char *config_path, struct sources *sources,
                 struct specs_counts *counts, struct buf *problems);

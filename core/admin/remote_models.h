/* remote_models.h -- whether the models that a key is given are any of the gateway's. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "remote.h"

/* Prints, to standard error, which of the names in "a,b" no model has in the version that serves:
 * a model may come later, so it is a remark.  Silent where nobody answers. */
void remote_note_models(struct remote *remote, const char *names);

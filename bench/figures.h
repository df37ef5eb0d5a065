#ifndef SOLO_BENCH_FIGURES_H
#define SOLO_BENCH_FIGURES_H

#include <stddef.h>

/* Numbers measured several times, and how they are printed: one line each, the machine's limit
 * beside it. Timings of one run are compared with one another only. */
enum { FIGURES_MAX = 64 };

struct figures {
    double values[FIGURES_MAX];
    size_t count;
};

void figures_add(struct figures *figures, double value);
double figures_median(const struct figures *figures);

/* "what   value unit   limit value unit   ratio   wanted >= goal   ok|BELOW". A goal of 0 means
 * none; `at_most` turns the comparison round. */
void figure_print(const char *what, double value, const char *unit, const char *limit_name,
                  double limit, double goal, int at_most);
/* Without a limit beside it: the goal, if any, is for the value itself. */
void figure_print_plain(const char *what, double value, const char *unit, double goal, int at_most);

#endif

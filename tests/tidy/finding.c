/* What clang-tidy has to report (tidy_clang_can_fail); it is compiled into nothing. */
int quotient(int divisor);
static int ratio(int whole, int part)
{
    return whole / part;
}
int quotient(int divisor)
{
    if (divisor == 0)
        return ratio(7, divisor);
    return 1;
}

/* The header is C, and a failure is a status: prints the version and the status of a lost bundle. */
#include <refinestyle/refinestyle.h>
#include <stdio.h>

int main(void) {
  refinestyle_runtime *runtime = NULL;
  refinestyle_options options = refinestyle_default_options();
  refinestyle_status status = refinestyle_open("/", &options, &runtime);
  refinestyle_close(runtime);
  printf("%s %d\n", refinestyle_version(), (int)status);
  return 0;
}

/* Loads a SavedModel and runs it once, with TensorFlow's C library alone.
 *
 * run_saved_model FOLDER [LIBRARY...] < REQUEST, where libraries register ops
 * and a request is words:
 *   feed OPERATION INDEX TYPE RANK SIZE... VALUE...
 *   fetch OPERATION INDEX
 * TYPE is TensorFlow's number of it. Strings are hexadecimal, "-" if empty.
 * Prints a line "TYPE RANK SIZE... VALUE..." for each fetch; an error goes to
 * standard error, with exit code 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MOST = 16, WORD = 1 << 20 };

static char word[WORD];

static const char* next_word(void) {
  if (scanf("%1048575s", word) != 1) {
    fprintf(stderr, "the request ends too early\n");
    exit(1);
  }
  return word;
}

static void check(TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

static void no_free(void* data, size_t length, void* unused) {
  (void)length, (void)unused;
  free(data);
}

static void read_string(TF_TString* string) {
  const char* hexadecimal = next_word();
  size_t size = strcmp(hexadecimal, "-") ? strlen(hexadecimal) / 2 : 0;
  char* bytes = malloc(size + 1);
  for (size_t i = 0; i < size; i++) {
    unsigned byte;
    sscanf(hexadecimal + 2 * i, "%2x", &byte);
    bytes[i] = (char)byte;
  }
  TF_StringInit(string);
  TF_StringCopy(string, bytes, size);
  free(bytes);
}

static TF_Tensor* read_tensor(void) {
  TF_DataType type = (TF_DataType)atoi(next_word());
  int rank = atoi(next_word());
  int64_t sizes[MOST], count = 1;
  for (int i = 0; i < rank; i++) {
    sizes[i] = atoll(next_word());
    count *= sizes[i];
  }
  size_t width = type == TF_STRING ? sizeof(TF_TString) : 4;
  char* data = malloc(width * (size_t)count + 1);
  for (int64_t i = 0; i < count; i++) {
    if (type == TF_STRING) {
      read_string((TF_TString*)data + i);
    } else if (type == TF_FLOAT) {
      ((float*)data)[i] = strtof(next_word(), NULL);
    } else {
      ((int32_t*)data)[i] = (int32_t)atol(next_word());
    }
  }
  return TF_NewTensor(type, sizes, rank, data, width * (size_t)count, no_free,
                      NULL);
}

static void print_tensor(const TF_Tensor* tensor) {
  TF_DataType type = TF_TensorType(tensor);
  int64_t count = TF_TensorElementCount(tensor);
  const void* data = TF_TensorData(tensor);
  printf("%d %d", (int)type, TF_NumDims(tensor));
  for (int i = 0; i < TF_NumDims(tensor); i++)
    printf(" %" PRId64, TF_Dim(tensor, i));
  for (int64_t i = 0; i < count; i++) {
    if (type == TF_STRING) {
      const TF_TString* string = (const TF_TString*)data + i;
      const unsigned char* bytes =
          (const unsigned char*)TF_StringGetDataPointer(string);
      size_t size = TF_StringGetSize(string);
      printf(size ? " " : " -");
      for (size_t j = 0; j < size; j++) printf("%02x", bytes[j]);
    } else if (type == TF_FLOAT) {
      printf(" %.9g", ((const float*)data)[i]);
    } else if (type == TF_BOOL) {
      printf(" %d", ((const unsigned char*)data)[i]);
    } else {
      printf(" %d", ((const int32_t*)data)[i]);
    }
  }
  printf("\n");
}

static TF_Output find(TF_Graph* graph) {
  TF_Output output;
  output.oper = TF_GraphOperationByName(graph, next_word());
  if (!output.oper) {
    fprintf(stderr, "no operation %s\n", word);
    exit(1);
  }
  output.index = atoi(next_word());
  return output;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const char* tags[] = {"serve"};
  TF_Status* status = TF_NewStatus();
  for (int i = 2; i < argc; i++) {
    TF_LoadLibrary(argv[i], status);
    check(status);
  }
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);
  TF_Output feeds[MOST], fetches[MOST];
  TF_Tensor *values[MOST], *results[MOST];
  int feed_count = 0, fetch_count = 0;
  while (scanf("%1048575s", word) == 1) {
    if (!strcmp(word, "feed")) {
      feeds[feed_count] = find(graph);
      values[feed_count++] = read_tensor();
    } else {
      fetches[fetch_count++] = find(graph);
    }
  }
  TF_SessionRun(session, NULL, feeds, values, feed_count, fetches, results,
                fetch_count, NULL, 0, NULL, status);
  check(status);
  for (int i = 0; i < fetch_count; i++) print_tensor(results[i]);
  return 0;
}

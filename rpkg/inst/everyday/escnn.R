# The same tasks with escnn and torch through reticulate. What all of them use:
library(reticulate)
torch <- import("torch")
escnn <- import("escnn")
np <- import("numpy", convert = FALSE)
tensor <- function(a) torch$from_numpy(np$array(a, dtype = "float32"))

#' Make a batch of several images
batch <- tensor(aperm(array(c(cat, turned), c(80, 80, 1, 2)), c(4, 3, 1, 2)))

#' Make a network that does not care about quarter turns
space <- escnn$gspaces$rot2dOnR2(N = 4L)
grey <- escnn$nn$FieldType(space, list(space$trivial_repr))
hidden <- escnn$nn$FieldType(space, list(space$regular_repr, space$regular_repr))
conv <- escnn$nn$R2Conv(grey, hidden, kernel_size = 3L)
relu <- escnn$nn$ReLU(hidden)
pool <- escnn$nn$GroupPooling(hidden)
body <- escnn$nn$SequentialModule(conv, relu, pool)
head <- torch$nn$Linear(2L, 2L)
forward <- function(x) head(body(escnn$nn$GeometricTensor(x, grey))$tensor$mean(dim = tuple(2L, 3L)))

#' Count its parameters
count <- function(module) sum(sapply(iterate(module$parameters()), function(p) p$numel()))
parameters <- count(body) + count(head)

#' Measure how equivariant it is
input <- tensor(x)
body$eval()
outputs <- lapply(iterate(iter(space$testing_elements)), function(g) {
  moved <- escnn$nn$GeometricTensor(input, grey)$transform(g)
  with(torch$no_grad(), forward(moved$tensor))
})
reference <- outputs[[1]]
error <- sapply(outputs, function(o) ((o - reference)$norm() / reference$norm())$item())

#' Train it
input <- tensor(x)
target <- torch$tensor(as.integer(y) - 1L)
parameters <- c(iterate(body$parameters()), iterate(head$parameters()))
optimizer <- torch$optim$Adam(parameters, lr = 0.05)
loss_of <- torch$nn$CrossEntropyLoss()
body$train()
for (epoch in 1:30) {
  order <- sample(24L)
  for (rows in split(order, ceiling(seq_along(order) / 32))) {
    index <- torch$tensor(as.list(rows - 1L))
    optimizer$zero_grad()
    loss <- loss_of(forward(input$index_select(0L, index)), target$index_select(0L, index))
    loss$backward()
    optimizer$step()
  }
}

#' Predict classes
body$eval()
logits <- with(torch$no_grad(), forward(tensor(x)))
classes <- factor(levels(y)[as.integer(logits$argmax(1L)$numpy()) + 1L], levels(y))

#' Predict probabilities
probabilities <- logits$softmax(1L)$numpy()
colnames(probabilities) <- levels(y)

#' See the confusion matrix
confusion <- table(truth = y, prediction = classes)

#' Save a model and load it again
torch$save(list(body = body$state_dict(), head = head$state_dict()), file.path(folder, "model.pt"))
state <- torch$load(file.path(folder, "model.pt"))
body$load_state_dict(state$body)
head$load_state_dict(state$head)

#' Turn an image by a group element
element <- space$fibergroup$element(1L)
field <- escnn$nn$GeometricTensor(tensor(array(cat, c(1, 1, 80, 80))), grey)
quarter <- field$transform(element)$tensor$numpy()[1, 1, , ]

"""A small convolutional network on images: the digits of the package, or a folder with MNIST.

python examples/cnn.py [FOLDER]
"""

import sys

import tercel
from tercel import datasets, nn
from tercel.nn import functional as F
from tercel.utils.data import DataLoader, TensorDataset


class CNN(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: tercel.Tensor) -> tercel.Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.relu(self.norm2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


def load(folder: str | None, train: bool) -> TensorDataset:
    if folder is None:
        return TensorDataset(*datasets.digits(train))
    images, labels = datasets.idx_folder(folder, train)
    return TensorDataset(images.float() / 255, labels)


def main(folder: str | None = None, epochs: int = 5) -> float:
    tercel.manual_seed(0)
    train = DataLoader(load(folder, True), batch_size=32, shuffle=True)
    test = DataLoader(load(folder, False), batch_size=500)
    model = CNN()
    optimizer = tercel.optim.Adam(model.parameters(), lr=1e-2)
    accuracy = 0.0
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with tercel.no_grad():
            correct = [(model(x).argmax(1) == y).sum().item() for x, y in test]
        accuracy = float(sum(correct)) / len(test.dataset)
        print(f"epoch {epoch + 1}: accuracy {100 * accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
